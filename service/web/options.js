/** Forms of options. The markup has the defaults; what differs from them is sent, and kept for the next time. */

/** @returns {URLSearchParams} the fields of a form that are not as in the markup, by their names in the API */
export function changedOptions(form) {
  const query = new URLSearchParams();
  for (const field of form.elements) {
    const value = changedValue(field);
    if (field.name && value !== null) query.set(field.name, value);
  }
  return query;
}

function changedValue(field) {
  if (field.type === "radio") return field.checked && !field.defaultChecked ? field.value : null;
  if (field.type === "checkbox") return field.checked === field.defaultChecked ? null : String(field.checked);
  if (field.tagName === "SELECT") return field.selectedOptions[0]?.defaultSelected ? null : field.value || null;
  return field.value === field.defaultValue ? null : field.value;
}

/**
 * Take up what was chosen the last time, and keep what will be.
 *
 * @param {HTMLFormElement} form
 * @param {string} key under which the browser keeps it
 * @param {() => void} onChange
 */
export function keepOptions(form, key, onChange) {
  try {
    apply(form, new URLSearchParams(localStorage.getItem(key) ?? ""));
  } catch {
    // A browser that keeps nothing: the defaults.
  }
  form.addEventListener("input", () => {
    try {
      localStorage.setItem(key, changedOptions(form).toString());
    } catch {
      // It is kept until the page is closed.
    }
    onChange();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  onChange();
}

function apply(form, query) {
  for (const field of form.elements) {
    if (!query.has(field.name)) continue;
    const value = query.get(field.name);
    if (field.type === "radio") field.checked = field.value === value;
    else if (field.type === "checkbox") field.checked = value === "true";
    else if (field.tagName !== "SELECT" || [...field.options].some((option) => option.value === value)) {
      field.value = value;
    }
  }
}
