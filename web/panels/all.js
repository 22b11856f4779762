// What slotid.js uses of this folder.

import { candidates } from "./candidates.js";
import { clip } from "./clip.js";
import { faces } from "./faces.js";
import { gateEditor } from "./gate.js";
import { regionEditor } from "./region.js";
import { timeline } from "./timeline.js";
import { training } from "./training.js";

export { panelOf } from "./panel.js";
export { people } from "./people.js";
export { addStyle } from "./style.js";

/** Nodes that are touched before anything has run, by node class. */
export const editors = {
  SlotIDGateSchedule: gateEditor,
  SlotIDLoadReferenceVideo: timeline,
  SlotIDRegion: regionEditor,
};

/** What can be seen in a node, by the kind that nodes/shared/seen.py names. */
export const views = { candidates, clip, faces, training };
