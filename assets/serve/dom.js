// Elements from plain calls. Text is always text: what runs and people wrote is never markup.

/** Makes an element: attributes, `on…` listeners, `style` as an object, then children. */
export function h(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** Makes an element of a drawing. */
export function svg(tag, attributes, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") Object.assign(element.style, value);
    else if (name === "value" || name === "checked" || name === "selected") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children) {
    if (child === null || child === undefined || child === false) continue;
    if (Array.isArray(child)) append(element, child);
    else element.append(child instanceof Node ? child : String(child));
  }
}

/** Replaces what an element holds. */
export function put(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

/** Elements from markup that the server has set, in which it has escaped whatever is not its own. */
export function markup(text) {
  const template = document.createElement("template");
  template.innerHTML = text;
  return template.content;
}

/** A labelled choice. `options` are [value, text]. */
export function choice(label, value, options, onchange) {
  const select = h("select", { onchange: () => onchange(select.value) },
    options.map(([key, text]) => h("option", { value: key, selected: key === value }, text)));
  return h("label", { class: "field" }, h("span", null, label), select);
}

/** A labelled switch. */
export function toggle(label, checked, onchange) {
  const box = h("input", { type: "checkbox", checked, onchange: () => onchange(box.checked) });
  return h("label", { class: "check" }, box, h("span", null, label));
}

/** What stands where nothing can be shown. */
export function problem(error, again) {
  return h("div", { class: "problem", role: "alert" },
    h("p", null, error.message ?? String(error)),
    again && h("button", { type: "button", onclick: again }, "Try again"));
}

/** What stands where there is nothing to show. */
export function empty(...text) {
  return h("p", { class: "empty" }, text);
}

/** Asks whether something is to be done. */
export function confirmed(question, yes) {
  return new Promise(answer => {
    const close = value => () => dialog.close(value);
    const dialog = h("dialog", {
      "aria-labelledby": "question",
      onclose: () => {
        dialog.remove();
        answer(dialog.returnValue === "yes");
      },
    }, h("p", { id: "question" }, question), h("div", { class: "chips" },
      h("button", { type: "button", onclick: close("") }, "Leave it"),
      h("button", { type: "button", onclick: close("yes") }, yes)));
    document.getElementById("main").append(dialog);
    dialog.showModal();
  });
}

/** Calls once for many calls within a moment. */
export function calmly(call, moment = 120) {
  let timer = null;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => call(...given), moment);
  };
}
