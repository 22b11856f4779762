// Nodes that are touched before anything has run, by node class.

import { gateEditor } from "./gate.js";
import { timeline } from "./timeline.js";

export const editors = { SlotIDGateSchedule: gateEditor, SlotIDLoadReferenceVideo: timeline };
