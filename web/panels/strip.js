// What is painted under the window: pictures of the clip, where a face was seen, scores, cuts, seconds.

import { pathOf, thinned } from "../logic/curve.js";
import { clock, tickEvery } from "../logic/window.js";

const PICTURES = 10;
const [GOOD, POOR, ACCENT, FAINT] = ["#3cc864", "#f05454", "#50a0ff", "#969ca4"];
const [STRIP, FACES, CURVE] = [[0, 46], [48, 54], [56, 76]]; // top and bottom, in pixels

/** A few pictures of a clip, read by the browser one after another; `changed` is called for each. */
export class Thumbnails {
  constructor(changed) {
    this.changed = changed;
    this.clear();
  }

  clear() {
    this.pictures = [];
    this.reading = null;
  }

  async read(url) {
    const video = document.createElement("video");
    this.reading = video;
    Object.assign(video, { muted: true, preload: "auto", src: url });
    const once = (kind) =>
      new Promise((done, fail) => {
        video.addEventListener(kind, done, { once: true });
        video.addEventListener("error", fail, { once: true });
      });
    try {
      await once("loadeddata");
      for (let i = 0; i < PICTURES && this.reading === video; i++) {
        const seconds = (video.duration * (i + 0.5)) / PICTURES;
        video.currentTime = seconds;
        await once("seeked");
        const picture = document.createElement("canvas");
        picture.height = 2 * (STRIP[1] - STRIP[0]);
        picture.width = Math.max(1, Math.round((picture.height * video.videoWidth) / video.videoHeight));
        picture.getContext("2d").drawImage(video, 0, 0, picture.width, picture.height);
        if (this.reading !== video) return;
        this.pictures.push([seconds, picture]);
        this.changed();
      }
    } catch {
      // The timeline says so: its own player meets the same error.
    } finally {
      video.removeAttribute("src"); // browsers have few players; without this one stays for each timeline
      video.load();
    }
  }
}

/** `survey` is what the last run told, or null; `duration` in seconds, 0 where it is not known yet. */
export function paintStrip(canvas, pictures, survey, duration) {
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (!width) return;
  const sharp = Math.min(2, window.devicePixelRatio || 1);
  Object.assign(canvas, { width: width * sharp, height: height * sharp }); // which clears it
  if (!duration) return;
  const pen = canvas.getContext("2d");
  pen.scale(sharp, sharp);
  const across = (seconds) => (width * seconds) / duration;
  let free = 0;
  for (const [seconds, picture] of pictures) {
    const wide = (picture.width * (STRIP[1] - STRIP[0])) / picture.height;
    const x = across(seconds) - wide / 2;
    if (x < free) continue;
    pen.drawImage(picture, x, STRIP[0], wide, STRIP[1] - STRIP[0]);
    free = x + wide + 1;
  }
  for (const [seconds, seen] of survey?.faces ?? []) {
    pen.fillStyle = seen ? GOOD : POOR;
    pen.fillRect(across(seconds) - 1, FACES[0], 2, FACES[1] - FACES[0]);
  }
  if (survey?.windows?.length > 1) {
    const most = Math.max(...survey.windows.map(([, score]) => score)) || 1;
    pen.save();
    pen.translate(0, CURVE[0]);
    pen.strokeStyle = ACCENT;
    pen.lineWidth = 1.5;
    pen.stroke(new Path2D(pathOf(thinned(survey.windows, 200), [0, duration], [0, most], width, CURVE[1] - CURVE[0])));
    pen.restore();
  }
  pen.fillStyle = POOR;
  for (const seconds of survey?.cuts ?? []) pen.fillRect(across(seconds) - 1, STRIP[0], 2, CURVE[1]);
  pen.font = "9px sans-serif";
  pen.fillStyle = FAINT;
  const step = tickEvery(duration);
  for (let seconds = 0; seconds <= duration; seconds += step) {
    pen.fillRect(across(seconds), CURVE[1], 1, 3);
    const label = clock(seconds);
    pen.fillText(label, Math.min(across(seconds) + 2, width - pen.measureText(label).width), height - 3);
  }
}
