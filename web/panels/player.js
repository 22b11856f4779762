// A clip that plays in a loop, with a button, a slider, and a call for each frame that is shown.

import { frameAt } from "../logic/people.js";
import { element } from "./dom.js";

const beginning = ({ frames, left_out }) => `The first ${frames} of ${frames + left_out} frames; the run took all of them.`;

export function clipPlayer(comfy, label) {
  const video = element("video", { muted: true, loop: true, playsinline: true, "aria-label": label });
  video.muted = true;
  const button = element("button", { type: "button", onclick: () => (video.paused ? play() : video.pause()) });
  const slider = element("input", { type: "range", min: 0, max: 0, value: 0, "aria-label": `${label}: frame` });
  const counter = element("span");
  const stage = element("div", { class: "slotid-stage" }, video);
  const note = element("p", { class: "slotid-note", hidden: true });
  const root = element("div", {}, stage, element("div", { class: "slotid-bar" }, button, slider, counter), note);
  let clip = { frames: 1, rate: 16 };
  let onFrame = () => {};
  let last = -1;

  const play = () => video.play().catch(() => {}); // refused while the page was never touched; the button stays
  const drawn = () => {
    const frame = frameAt(video.currentTime, clip.rate, clip.frames);
    if (frame === last) return;
    last = frame;
    slider.value = frame;
    counter.textContent = `${frame + 1}/${clip.frames}`;
    onFrame(frame);
  };
  const told = () => {
    button.textContent = video.paused ? "▶" : "❚❚";
    button.setAttribute("aria-label", video.paused ? `Play ${label}` : `Pause ${label}`);
  };
  const follow = () => {
    if (!root.isConnected) return video.pause();
    drawn();
    if (!video.paused) requestAnimationFrame(follow);
  };
  video.addEventListener("play", () => (told(), requestAnimationFrame(follow)));
  video.addEventListener("pause", told);
  video.addEventListener("seeked", drawn);
  video.addEventListener("loadeddata", () => ((last = -1), drawn()));
  video.addEventListener("error", () => {
    note.hidden = false;
    note.textContent = "The clip is gone: ComfyUI empties its temporary folder when it starts. Run the graph again.";
  });
  slider.addEventListener("input", () => {
    video.pause();
    video.currentTime = (Number(slider.value) + 0.5) / clip.rate;
  });
  told();

  return {
    element: root,
    stage,
    frame: () => Math.max(0, last),
    /** `facts` are what `clip_file` of nodes/shared/seen.py tells. */
    update(facts, eachFrame = () => {}) {
      onFrame = eachFrame;
      note.textContent = facts.failure ?? (facts.left_out ? beginning(facts) : "");
      note.hidden = !note.textContent;
      stage.hidden = Boolean(facts.failure);
      if (facts.failure) return video.pause();
      clip = facts;
      slider.max = facts.frames - 1;
      video.style.aspectRatio = `${facts.width} / ${facts.height}`;
      const url = comfy.fileUrl(facts.file);
      if (video.getAttribute("src") !== url) {
        video.src = url;
        play();
      }
      last = -1;
      drawn();
    },
  };
}
