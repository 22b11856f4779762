// Nodes that are touched before anything has run, by node class.

import { gateEditor } from "./gate.js";
import { regionEditor } from "./region.js";
import { timeline } from "./timeline.js";

export const editors = {
  SlotIDGateSchedule: gateEditor,
  SlotIDLoadReferenceVideo: timeline,
  SlotIDRegion: regionEditor,
};
