// One card: the kernel sends its HTML, and this puts it in place, so that what has not changed is not touched.

function morph(here, wanted) {
  const old = [...here.childNodes];
  const next = [...wanted.childNodes];
  next.forEach((to, i) => {
    const from = old[i];
    if (!from) here.append(to);
    else if (from.nodeName !== to.nodeName) from.replaceWith(to);
    else if (from.nodeType === Node.TEXT_NODE) {
      if (from.data !== to.data) from.data = to.data;
    } else {
      for (const { name } of [...from.attributes]) if (!to.hasAttribute(name)) from.removeAttribute(name);
      for (const { name, value } of [...to.attributes])
        if (from.getAttribute(name) !== value) from.setAttribute(name, value);
      morph(from, to);
    }
  });
  old.slice(next.length).forEach((node) => node.remove());
}

function render({ model, el }) {
  const view = Math.random().toString(36).slice(2);
  const template = document.createElement("template");
  let asked = ""; // the button that was pressed, until the kernel has answered
  let shown = null;
  let onScreen = true;

  function draw() {
    template.innerHTML = model.get("html");
    const button = asked && template.content.querySelector(`[data-do="${asked}"]`);
    if (button) {
      button.disabled = true;
      button.title = "Asked for; a kernel that is busy answers when its cell has ended";
    } else asked = "";
    morph(el, template.content);
  }

  function press(event) {
    const button = event.target.closest("[data-do]");
    if (!button || button.disabled) return;
    asked = button.dataset.do;
    draw();
    model.send({ do: asked });
  }

  function slide(event) {
    const input = event.target.closest("[data-set]");
    if (!input) return;
    input.parentElement.querySelector(".value").textContent = Number(input.value).toPrecision(6).replace(/\.?0+$/, "");
    model.send({ set: { [input.dataset.set]: Number(input.value) } });
  }

  function tell() {
    const now = onScreen && document.visibilityState !== "hidden";
    if (now !== shown) model.send({ view, shown: (shown = now) });
  }

  const observer = new IntersectionObserver((entries) => {
    onScreen = entries[entries.length - 1].isIntersecting;
    tell();
  });
  model.on("change:html", draw);
  el.addEventListener("click", press);
  el.addEventListener("input", slide);
  document.addEventListener("visibilitychange", tell);
  draw();
  observer.observe(el);
  return () => {
    model.off("change:html", draw);
    el.removeEventListener("click", press);
    el.removeEventListener("input", slide);
    document.removeEventListener("visibilitychange", tell);
    observer.disconnect();
    if (shown) model.send({ view, shown: false });
  };
}

export default { render };
