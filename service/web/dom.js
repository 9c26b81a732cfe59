/** What every tab needs of the document. */

/** @param {string} id @returns {HTMLElement} */
export const $ = (id) => document.getElementById(id);

/** A new element; `properties` are set on it, those with a dash in their name as attributes. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role") made.setAttribute(name, value);
    else made[name] = value;
  }
  made.append(...children);
  return made;
}

/** Show a problem in a box of class `error`, or clear the last one with null. */
export function showProblem(box, error) {
  box.hidden = error === null;
  if (error === null) return;
  box.querySelector("h2").textContent = error.title ?? "Something went wrong";
  box.querySelector("p").textContent = error.message;
  box.querySelector(".quiet").textContent = error.requestId ? `Request ${error.requestId}` : "";
}

/** Offer a blob as a download. */
export function save(blob, name) {
  const link = element("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** @param {number} count @returns {string} */
export function countText(count) {
  if (count === 0) return "Nobody found";
  return count === 1 ? "1 person" : `${count} people`;
}

/** Fill a list of models, and show it only where there is a choice. */
export function fillModels(select, field, models) {
  select.replaceChildren(...models.map(({ name }, index) => new Option(name, name, index === 0, index === 0)));
  field.hidden = models.length < 2;
}
