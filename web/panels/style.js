// Colours are ComfyUI's own variables, so that the panel follows its light and dark themes.

const CSS = `
.slotid-panel { width: 100%; min-width: 0; box-sizing: border-box; color: var(--input-text, #ddd); font: 12px/1.35 sans-serif; }
.slotid-inner { display: flow-root; }
.slotid-inner > div { margin-bottom: 6px; }
.slotid-inner > div:empty { display: none; }
.slotid-panel [hidden] { display: none !important; }
.slotid-warnings { border-left: 3px solid #f0a030; background: rgba(240, 160, 48, 0.14); padding: 4px 8px; border-radius: 4px; }
.slotid-warnings p { margin: 2px 0; white-space: normal; overflow-wrap: anywhere; user-select: text; }
.slotid-badge { float: right; margin-left: 6px; padding: 0 6px; border-radius: 8px; background: #f0a030; color: #201400; font-weight: bold; }
.slotid-stage { position: relative; overflow: hidden; border-radius: 4px; background: #000; }
.slotid-stage video, .slotid-stage img { display: block; width: 100%; }
.slotid-bar { display: flex; align-items: center; gap: 6px; margin-top: 4px; }
.slotid-bar input[type=range] { flex: 1; min-width: 0; }
.slotid-panel button { font: inherit; color: inherit; background: var(--comfy-input-bg, #222); border: 1px solid var(--border-color, #555); border-radius: 4px; padding: 2px 8px; cursor: pointer; min-height: 24px; }
.slotid-panel button:disabled { cursor: default; opacity: 0.6; }
.slotid-panel :focus-visible { outline: 2px solid #6ab0ff; outline-offset: 1px; }
.slotid-note { margin: 4px 0 0; color: var(--descrip-text, #aaa); overflow-wrap: anywhere; }
.slotid-problem { color: #ff8080; }
.slotid-panel .slotid-person { position: absolute; padding: 0; background: transparent; border: 2px solid #faaa28; border-radius: 3px; text-align: left; min-height: 0; }
.slotid-person > span { position: absolute; left: 0; top: 0; padding: 0 5px; background: #faaa28; color: #201400; font-weight: bold; }
.slotid-panel .slotid-person[aria-pressed=true] { border-color: #3cdc5a; }
.slotid-person[aria-pressed=true] > span { background: #3cdc5a; }
.slotid-panel .slotid-person.slotid-guess { border-style: dashed; }
.slotid-crop { position: absolute; border: 2px solid #50a0ff; pointer-events: none; box-sizing: border-box; }
.slotid-person { box-sizing: border-box; }
.slotid-grid { display: grid; grid-template-columns: repeat(auto-fill, minmax(84px, 1fr)); gap: 4px; }
.slotid-panel .slotid-candidate { padding: 2px; border-width: 2px; display: block; width: 100%; }
.slotid-panel .slotid-candidate[aria-checked=true] { border-color: #3cdc5a; }
.slotid-candidate img { display: block; width: 100%; border-radius: 2px; }
.slotid-people { display: grid; grid-template-columns: repeat(auto-fill, minmax(72px, 1fr)); gap: 4px; max-height: 240px; overflow-y: auto; margin: 4px 0; align-content: start; }
.slotid-people .slotid-candidate { content-visibility: auto; contain-intrinsic-size: 72px 90px; }
.slotid-letters { display: grid; place-items: center; aspect-ratio: 1; border-radius: 2px; color: #fff; font-size: 20px; }
.slotid-name { display: block; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.slotid-panel input[type=search], .slotid-panel input[type=text] { width: 100%; box-sizing: border-box; font: inherit; color: inherit; background: var(--comfy-input-bg, #222); border: 1px solid var(--border-color, #555); border-radius: 4px; padding: 3px 6px; margin-top: 4px; }
.slotid-frame { position: relative; border-radius: 4px; background: #111; border: 1px solid var(--border-color, #555); box-sizing: border-box; }
.slotid-box { position: absolute; box-sizing: border-box; border: 2px solid #3cdc5a; background: rgba(60, 220, 90, 0.18); border-radius: 3px; cursor: move; }
.slotid-other { border-color: #faaa28; background: rgba(250, 170, 40, 0.1); pointer-events: none; }
.slotid-corner { position: absolute; width: 16px; height: 16px; margin: -12px 0 0 -12px; border-radius: 4px; background: #3cdc5a; cursor: nwse-resize; }
.slotid-legend { display: flex; flex-wrap: wrap; gap: 2px 10px; margin-top: 4px; }
.slotid-legend i { display: inline-block; width: 10px; height: 10px; margin-right: 4px; border-radius: 2px; }
.slotid-strip { position: relative; height: 92px; margin: 6px 8px 0; }
.slotid-strip canvas { position: absolute; inset: 0; width: 100%; height: 100%; border-radius: 4px; background: #111; }
.slotid-window { position: absolute; top: 0; bottom: 0; box-sizing: border-box; min-width: 8px; border: 2px solid #3cdc5a; background: rgba(60, 220, 90, 0.18); border-radius: 4px; cursor: grab; }
.slotid-window.slotid-searched { border-style: dashed; }
.slotid-end { position: absolute; top: 0; bottom: 0; width: 12px; margin-left: -3px; cursor: ew-resize; }
.slotid-end::after { content: ""; position: absolute; left: 1px; top: 28%; bottom: 28%; width: 6px; border-radius: 3px; background: #3cdc5a; }
.slotid-now { position: absolute; top: 0; bottom: 0; width: 1px; background: #fff; pointer-events: none; }
.slotid-plot { display: block; width: 100%; height: auto; touch-action: none; user-select: none; border-radius: 4px; background: var(--comfy-input-bg, #1b1b1b); }
.slotid-plot text { font: 9px sans-serif; fill: var(--descrip-text, #aaa); }
.slotid-plot .slotid-w { fill: none; stroke: #e07b45; stroke-width: 2; }
.slotid-plot .slotid-rest { fill: none; stroke: #4a90d9; stroke-width: 2; }
.slotid-plot .slotid-line { stroke: var(--border-color, #555); stroke-width: 0.5; }
.slotid-plot .slotid-tick { stroke: #e8d44d; stroke-width: 1; }
.slotid-point { fill: #e07b45; stroke: #fff; stroke-width: 1.5; cursor: grab; }
.slotid-point:focus { outline: none; stroke: #6ab0ff; stroke-width: 3; }
.slotid-reach { fill: transparent; }
`;

export function addStyle() {
  const style = document.createElement("style");
  style.textContent = CSS;
  document.head.append(style);
}
