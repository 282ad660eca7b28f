// The prompt: an example's is replaced by typing, and each change can be taken back. It shares the scope of result.js.
const promptField = () => document.querySelector("#prompt textarea");
const isExample = () => props.examples.some(({ prompt }) => prompt === promptField()?.value);
const hasKeyboard = matchMedia("(pointer: fine)"); // a phone would open its own over the result

// As if it were typed, so that Ctrl+Z takes it back: a value that a program sets leaves the browser's memory of what was
// typed before as it is, and that then puts letters where they were in another text.
let isReplacing = false;
function replacePrompt(text) {
  const field = promptField();
  if (!hasKeyboard.matches || field.value === text) return;
  isReplacing = true;
  field.focus();
  field.select();
  document.execCommand(text ? "insertText" : "delete", false, text);
  isReplacing = false;
}

// Whoever chose an example, or has just opened the page, types what to look for instead.
function selectExample() {
  if (hasKeyboard.matches && isExample()) promptField().select();
}
document.addEventListener("focusin", ({ target }) => target === promptField() && selectExample());
document.addEventListener("pointerdown", ({ target }) => {
  if (target !== promptField() || target === document.activeElement) return;
  // The click that brings the focus would set the caret.
  target.addEventListener("click", () => target.selectionStart === target.selectionEnd && selectExample(), { once: true });
});

// Pictures say nothing to who does not see them.
function nameExamples() {
  document.querySelectorAll("#gallery .gallery-item").forEach((button, index) => {
    const { name, prompt } = props.examples[index] ?? {};
    if (name) button.setAttribute("aria-label", `Example ${name}: ${prompt.replaceAll(" . ", ", ")}`);
  });
}
new MutationObserver(nameExamples).observe(document.querySelector("#page"), { childList: true, subtree: true });

// What the page's events call, see wiring.py.
window.groundingDino = {
  replacePrompt,
  selectExample,
  isTwice,
  showExample: (index) => replacePrompt(props.examples[index].prompt),
};
