// The pack's entries in ComfyUI's menu, which the command palette finds as well.

const ENTRIES = [
  // As a graph: it shows what happens in the nodes, and a page that shows its first form offers a tour before it.
  ["SlotID.FirstVideo", "First video: a person from a clip (toy world, nothing to download)", "slot_id_text_to_video", { asGraph: true }],
  ["SlotID.FromPicture", "A person from a picture (Lynx on Wan 2.1 14B)", "lynx_wan_14b"],
  ["SlotID.FromPictureStandIn", "A person from a picture (Stand-In on Wan 2.1 14B)", "stand_in_wan_14b"],
];

/** {commands, menuCommands} of an extension. */
export function menu(comfy) {
  const commands = ENTRIES.map(([id, label, template, how]) => ({ id, label, function: () => comfy.openTemplate(template, how) }));
  return { commands, menuCommands: [{ path: ["Slot-ID"], commands: commands.map((command) => command.id) }] };
}
