// Elements without a template language: h("td", { class: "n" }, text). Texts are texts, never markup.

export function h(name, attributes, ...children) {
  const svg = ["svg", "path", "line", "text", "g", "rect", "circle", "polyline", "title"];
  const element = svg.includes(name)
    ? document.createElementNS("http://www.w3.org/2000/svg", name)
    : document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "value") element.value = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...flat(children));
  return element;
}

function flat(children) {
  return children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== false);
}

// Puts other children into an element; what has the focus keeps it if it has an id.
export function fill(element, ...children) {
  const focused = document.activeElement?.id;
  const inside = focused && element.contains(document.activeElement);
  element.replaceChildren(...flat(children));
  if (inside) document.getElementById(focused)?.focus();
  return element;
}

// A question with yes and no. `Enter` in the dialog means yes; Escape means no.
export function confirmed(title, text, yes, danger = true) {
  return new Promise((resolve) => {
    const dialog = h("dialog", { class: "ask", "aria-labelledby": "ask-title" },
      h("form", { method: "dialog" },
        h("h2", { id: "ask-title" }, title),
        h("p", {}, text),
        h("div", { class: "actions" },
          h("button", { value: "no", type: "submit", formnovalidate: true }, "Cancel"),
          h("button", { value: "yes", type: "submit", class: danger ? "danger" : "primary", id: "ask-yes" }, yes))));
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.returnValue = "no";
    dialog.showModal();
    dialog.querySelector("#ask-yes").focus();
  });
}

let lastId = 0;

// A labelled field: the label and the input belong together for whoever cannot see them side by side.
export function field(label, input, hint) {
  input.id ||= `field-${++lastId}`;
  const help = hint && h("small", { id: `${input.id}-hint` }, hint);
  if (help) input.setAttribute("aria-describedby", help.id);
  return h("div", { class: "field" }, h("label", { for: input.id }, label), input, help);
}
