// Draws one run. Python decides what is shown; this puts it into the page and reports what a person does.
//
// A run's output is plain HTML: an image, which shows everywhere, and this script, which calls `attach`. That makes a picture of
// the image, with details on click. While the run is open there is an anywidget model, too. It has no view of its own: when the
// kernel opens it, `initialize` puts it where the output finds it, by the output's key, and the picture comes alive. So a saved
// notebook always holds the picture and never a widget without a kernel. (Front ends that put each output into a frame of its own
// cannot do this; they get the widget itself, and `render`.)
//
// Messages from the kernel are {kind: "frame" | "details" | "notice"}; what a person does goes back the same way.

const make = (tag, name, text = "") => Object.assign(document.createElement(tag), { className: name, textContent: text });

// A place for the picture and, below it, one for the details of the row that was chosen.
function stage(root, ask, chosen = null) {
  const picture = make("div", "perdure-picture");
  const panel = make("div", "perdure-details");
  panel.hidden = true;
  panel.setAttribute("role", "region");
  panel.setAttribute("aria-label", "Details");
  root.replaceChildren(picture, panel);

  const find = (id) => picture.querySelector(`[data-event="${CSS.escape(id)}"]`);
  const mark = () => {
    for (const row of picture.querySelectorAll("[data-event]")) {
      row.setAttribute("aria-expanded", String(row.dataset.event === chosen));
    }
  };
  const choose = (id) => {
    chosen = id === chosen ? null : id;
    panel.hidden = true;
    mark();
    if (chosen !== null) ask(chosen);
  };
  picture.addEventListener("click", (event) => {
    const row = event.target.closest("[data-event]");
    if (row) choose(row.dataset.event);
  });
  root.addEventListener("keydown", (event) => {
    const row = event.target.closest?.("[data-event]");
    if (event.key === "Escape" && chosen !== null) {
      find(chosen)?.focus();
      choose(chosen);
    } else if (row && (event.key === "Enter" || event.key === " ")) {
      choose(row.dataset.event);
    } else if (row && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      const rows = [...picture.querySelectorAll("[data-event]")];
      rows[rows.indexOf(row) + (event.key === "ArrowDown" ? 1 : -1)]?.focus();
    } else return;
    // Jupyter would take these keys for itself: run the cell, move to the next one.
    event.preventDefault();
    event.stopPropagation();
  });

  return {
    chosen: () => chosen,
    draw(html) {
      const focused = picture.contains(document.activeElement) ? document.activeElement.dataset.event : undefined;
      const unfolded = picture.querySelector("details")?.open;
      picture.innerHTML = html; // from perdure.view, which escapes whatever users and failures bring in
      if (unfolded) picture.querySelector("details")?.setAttribute("open", "");
      mark();
      if (focused !== undefined) find(focused)?.focus({ preventScroll: true });
      if (chosen !== null) ask(chosen); // what is open there may have changed
    },
    tell(id, html) {
      if (id !== chosen) return; // the answer to a question that is no longer asked
      panel.innerHTML = html;
      panel.hidden = html === "";
    },
  };
}

// --- without a kernel

// When the kernel replaces an output, as it does when the run closes, what was open in the old one stays open: by run id, the
// row and when it was seen.
const left = (globalThis.perdureLeft ??= new Map());

export function attach(root, details) {
  const image = root?.querySelector("img.perdure-image");
  if (!image) return;
  image.outerHTML = decodeURIComponent(image.getAttribute("src").replace(/^[^,]*,/, ""));
  const html = root.innerHTML;
  const before = left.get(root.dataset.run);
  const chosen = before && Date.now() - before.at < 3000 ? before.chosen : null;
  const view = stage(root, (id) => view.tell(id, details[id] ?? ""), chosen);
  view.draw(html);
  if (root.dataset.live) whenLive(root.dataset.live, (model) => live(root, model, view.chosen()));
}

// --- with a kernel

const PATIENCE = 10; // seconds without an answer after which the picture says how old it is
const models = (globalThis.perdureModels ??= new Map()); // of the open runs in this page, by their output's key

function initialize({ model }) {
  const key = model.get("output");
  models.set(key, model);
  document.dispatchEvent(new CustomEvent("perdure-model", { detail: key }));
  return () => models.delete(key);
}

function whenLive(key, connect) {
  const found = () => models.has(key) && (connect(models.get(key)), true);
  if (found()) return;
  const wait = (event) => event.detail === key && found() && document.removeEventListener("perdure-model", wait);
  document.addEventListener("perdure-model", wait);
}

function render({ model, el }) {
  const root = make("div", "perdure-run");
  el.append(root);
  return live(root, model);
}

// Puts the live picture into `root`. Returns the function that ends it.
function live(root, model, chosen = null) {
  const main = make("div", "");
  const bar = make("div", "perdure-bar");
  const clock = make("span", "perdure-clock");
  const notice = make("span", "perdure-notice");
  notice.setAttribute("role", "status");
  root.replaceChildren(main, bar);

  const view = stage(main, (id) => model.send({ kind: "details", row: Number(id) }), chosen);
  const button = (text, title, press) => {
    const made = make("button", "perdure-button", text);
    made.type = "button";
    made.title = title;
    made.addEventListener("click", press);
    return made;
  };
  const act = (kind) => () => {
    notice.textContent = "";
    model.send({ kind });
  };
  const refresh = button("Refresh", "Draw it again as it is now", act("refresh"));
  const cancel = button("Cancel", "Ask the run to stop; its code may clean up first", act("cancel"));
  const terminate = button("Terminate…", "End the run at once; its code is not asked", () => confirm(true));
  const really = button("Terminate now", "", () => {
    confirm(false);
    act("terminate")();
  });
  really.classList.add("perdure-danger");
  const keep = button("Keep running", "", () => confirm(false));
  const question = make("span", "perdure-question", "Its code gets no chance to clean up.");
  function confirm(asking) {
    bar.replaceChildren(...(asking ? [question, really, keep] : [clock, notice, refresh, cancel, terminate]));
    if (asking) keep.focus();
  }
  confirm(false);

  let next = null; // {words, at}: what happens next by the clock
  let ahead = 0; // how far the kernel's clock is ahead of this one, ms
  let drawn = 0; // when the last frame came
  let asked = 0; // when another one was asked for, since then
  let pace = 1; // for how many seconds a frame is good
  const tick = () => {
    const seconds = next ? Math.max(0, Math.round((next.at - ahead - Date.now()) / 1000)) : 0;
    clock.textContent = next ? `${next.words} ${seconds ? `in ${span(seconds)}` : "now"}` : "";
    const now = Date.now();
    if (bar.hidden || document.hidden || now - Math.max(drawn, asked) < 1000 * pace) return;
    // The kernel is busy and cannot answer, or it is gone: an old picture must not look like a new one.
    if (asked > drawn && now - drawn > 1000 * (pace + PATIENCE)) {
      next = null;
      notice.textContent = `No news from the kernel since ${new Date(drawn).toLocaleTimeString()}.`;
    }
    asked = now;
    model.send({ kind: "tick" });
  };

  const show = (frame) => {
    view.draw(frame.picture);
    if (notice.textContent.startsWith("No news")) notice.textContent = "";
    drawn = Date.now();
    pace = frame.pace;
    next = frame.next;
    ahead = frame.now - Date.now();
    bar.hidden = !frame.open;
    left.set(frame.run, { chosen: view.chosen(), at: drawn });
    tick();
  };
  const receive = (message) => {
    if (message.kind === "frame") show(message);
    else if (message.kind === "details") view.tell(String(message.row), message.html);
    else if (message.kind === "notice") notice.textContent = message.text;
  };

  // Only what can be seen is kept up to date: an output may be scrolled away, taken out of the page for a while, or replaced.
  let timer = null;
  const watch = (visible) => {
    if (visible === (timer !== null)) return;
    if (visible) {
      model.on("msg:custom", receive);
      timer = setInterval(tick, 250);
    } else {
      model.off("msg:custom", receive);
      timer = clearInterval(timer) ?? null;
    }
    model.send({ kind: visible ? "shown" : "hidden" });
  };
  const observer = new IntersectionObserver((changes) => watch(changes.at(-1).isIntersecting));
  show(model.get("frame"));
  observer.observe(root);
  model.on("destroy", () => {
    bar.hidden = true; // the extension was unloaded: nobody answers any more
    observer.disconnect();
    clearInterval(timer);
  });
  return () => {
    observer.disconnect();
    watch(false);
  };
}

function span(seconds) {
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`;
  return `${Math.floor(seconds / 86400)} d ${Math.floor((seconds % 86400) / 3600)} h`;
}

export default { initialize, render };
