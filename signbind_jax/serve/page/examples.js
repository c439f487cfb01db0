// Recordings that came with the translator, for those who have none at hand.

import * as api from "./api.js";

// Shows a button for each in `element`. `translate` uploads a file and shows its answer, to whose
// `notes` is added what is signed; `tell` shows an error.
export async function offerExamples(element, notes, translate, tell) {
  const choose = async ({ name, text }) => {
    try {
      await translate(await api.example(name), name);
    } catch (error) {
      tell(error);
    }
    notes.append(withText("li", `What is signed in it: ${text}`));
  };
  const found = await api.examples().catch(() => []); // one can do without
  const buttons = found.map((example) => {
    const button = withText("button", example.text);
    button.type = "button";
    button.addEventListener("click", () => choose(example));
    return button;
  });
  element.querySelector(".buttons").replaceChildren(...buttons);
  element.hidden = !buttons.length;
}

function withText(tag, text) {
  const element = document.createElement(tag);
  element.textContent = text;
  return element;
}
