/** The ways in which a file gets into the page. */

/** Call `take` with the files that are chosen with an `<input type="file">`. */
export function listenForChoice(input, take) {
  input.addEventListener("change", () => {
    const files = [...input.files];
    input.value = ""; // so that the same file can be chosen again
    if (files.length > 0) take(files);
  });
}

/** Call `take` with the files that are dropped or pasted anywhere on the page. */
export function listenForFiles(take) {
  const takeAll = (data) => {
    const files = [...(data?.files ?? [])];
    if (files.length > 0) take(files);
  };
  document.addEventListener("paste", (event) => takeAll(event.clipboardData));
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dragging");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dragging");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dragging");
    takeAll(event.dataTransfer);
  });
}
