// What can be seen in a node, by the kind that nodes/shared/seen.py names.

import { candidates } from "./candidates.js";
import { clip } from "./clip.js";
import { faces } from "./faces.js";
import { training } from "./training.js";

export const views = { candidates, clip, faces, training };
