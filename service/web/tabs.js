/**
 * Tabs, after the ARIA pattern: one stop for Tab, arrows between them. The address says which one is open and what it
 * shows: `#video`, or `#video/PLACE`. The markup has `tab-NAME` and `NAME-panel` for each.
 */

import { $ } from "./dom.js";

/**
 * @typedef {object} Tab
 * @property {string} name of the tab, as in the address
 * @property {string} title of the page while it is open
 * @property {(file: File) => boolean} accepts whether a file of this kind is for this tab, whichever is open
 * @property {() => void} start called once, before it is shown for the first time
 * @property {(place: string) => void} show
 * @property {() => void} hide
 * @property {(files: File[]) => void} take files that were dropped or pasted
 */

/** Show the tab that the address names, the first one for any other address. Gives what else may be done with them. */
export function openTabs(tabs) {
  const places = new Map(); // where each tab was left
  const started = new Set();
  let open = null;
  let address = null;

  function route() {
    if (location.hash === address) return;
    address = location.hash;
    const [name, place = ""] = address.slice(1).split("/");
    const tab = tabs.find((each) => each.name === name) ?? tabs[0];
    if (open !== tab) reveal(tab);
    places.set(tab, place);
    tab.show(place);
  }

  function reveal(tab) {
    open?.hide();
    open = tab;
    document.title = tab.title;
    for (const each of tabs) {
      const button = $(`tab-${each.name}`);
      button.setAttribute("aria-selected", String(each === tab));
      button.tabIndex = each === tab ? 0 : -1;
      $(`${each.name}-panel`).hidden = each !== tab;
    }
    if (!started.has(tab)) tab.start();
    started.add(tab);
  }

  /** Asking for the open tab goes back to its beginning. */
  function go(tab) {
    const place = tab !== open && places.get(tab);
    location.hash = place ? `${tab.name}/${place}` : tab.name;
    route(); // the event comes later, and finds nothing left to do
  }

  function onKey(event, index) {
    const before = (index + tabs.length - 1) % tabs.length;
    const after = (index + 1) % tabs.length;
    const targets = { ArrowLeft: before, ArrowRight: after, Home: 0, End: tabs.length - 1 };
    if (!(event.key in targets)) return;
    event.preventDefault();
    const target = tabs[targets[event.key]];
    go(target);
    $(`tab-${target.name}`).focus();
  }

  tabs.forEach((tab, index) => {
    $(`tab-${tab.name}`).addEventListener("click", () => go(tab));
    $(`tab-${tab.name}`).addEventListener("keydown", (event) => onKey(event, index));
  });
  window.addEventListener("hashchange", route);
  route();

  return {
    /** Give files to the tab that they are for, else to the open one. */
    take(files) {
      const tab = tabs.find((each) => each.accepts(files[0])) ?? open;
      if (tab !== open) go(tab);
      tab.take(files);
    },
  };
}
