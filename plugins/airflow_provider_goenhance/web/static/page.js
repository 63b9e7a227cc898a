// SPDX-License-Identifier: Apache-2.0
// Keeps the page up to date, opens the larger view, and remembers which rows are chosen. Without it, the page is links.
"use strict";

(() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
  const announce = (text) => {
    const place = $("#announcer");
    if (place && place.textContent !== text) place.textContent = text;
  };
  document.documentElement.classList.add("js");

  // Shows the result of an action for a while, and announces it.
  let said = null;
  function say(text) {
    announce(text);
    for (const place of $$("[data-said]")) place.textContent = text;
    clearTimeout(said);
    said = setTimeout(() => $$("[data-said]").forEach((place) => (place.textContent = "")), 6000);
  }

  // What other scripts of the page may use: see "goenhance:chosen" and "goenhance:shown" below. `chosen` has the version
  // of each row as it was when it was chosen: an action is refused for a row that has changed since.
  const page = (window.goenhance = { chosen: new Map(), shown: null, say, refresh: () => Promise.all([refresh("rows"), refresh("figures")]) });

  // -- links out of the frame ---------------------------------------------------------------------------------

  const framed = window.parent !== window;
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-host]");
    if (!link || !framed || event.ctrlKey || event.metaKey || event.button) return;
    const target = new URL(link.href);
    if (target.origin !== location.origin) return;
    event.preventDefault();
    // The frame may not navigate its parent; the parent's router follows its history.
    window.parent.history.pushState({}, "", target.href);
    window.parent.dispatchEvent(new PopStateEvent("popstate"));
  });

  // -- copying --------------------------------------------------------------------------------------------------

  async function copy(text, button) {
    const before = button.textContent;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const field = document.createElement("textarea");
      field.value = text;
      button.after(field);
      field.select();
      document.execCommand("copy");
      field.remove();
    }
    button.textContent = "Copied";
    announce("Copied");
    setTimeout(() => (button.textContent = before), 1500);
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-copy], [data-copy-link]");
    if (button) copy(button.dataset.copy || location.href, button);
  });

  // -- pictures that cannot be shown -------------------------------------------------------------------------------

  document.addEventListener(
    "error",
    (event) => {
      const image = event.target;
      if (!(image instanceof HTMLImageElement) || image.dataset.failed) return;
      image.dataset.failed = "yes";
      const tile = document.createElement("span");
      tile.className = "tile";
      tile.textContent = `${image.alt.split(" of ")[0]}: cannot be shown`;
      image.replaceWith(tile);
    },
    true,
  );

  // -- times in the viewer's zone -------------------------------------------------------------------------------------

  function localTimes(root) {
    for (const time of $$("time[data-time]", root)) {
      const moment = new Date(time.dateTime);
      time.title = time.dateTime;
      time.textContent = moment.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
    }
  }

  // -- small requests while a run goes on ------------------------------------------------------------------------------

  const waiting = {};

  // Whether a control of the new part is the one that had the focus in the old part.
  const sameControl = (one, other) =>
    one.tagName === other.tagName &&
    ["href", "value", "data-action", "data-statuses", "data-of"].every(
      (name) => one.getAttribute(name) === other.getAttribute(name),
    );

  async function refresh(id) {
    const part = document.getElementById(id);
    if (!part || !part.dataset.url) return;
    let html;
    try {
      const answer = await fetch(part.dataset.url, { headers: { Accept: "text/fragment" } });
      // Signed out meanwhile: the page itself goes to the log-in and comes back.
      if (answer.status === 401) return location.reload();
      if (!answer.ok) throw new Error(answer.status);
      html = await answer.text();
    } catch {
      schedule(id, 15000);
      return;
    }
    const parsed = new DOMParser().parseFromString(html, "text/html").getElementById(id);
    if (!parsed) return;
    const wasLive = Number(part.dataset.refresh) > 1000;
    const focused = part.contains(document.activeElement) ? document.activeElement : null;
    part.replaceWith(document.adoptNode(parsed));
    const now = document.getElementById(id);
    if (focused) $$("a, button, input", now).find((one) => sameControl(one, focused))?.focus();
    localTimes(now);
    dropChanged();
    markChosen();
    const verdict = $("[data-announce]", now);
    if (verdict) announce(verdict.textContent.replace(/\s+/g, " ").trim());
    // One last look after the end: the last rows may have been written since they were counted.
    schedule(id, wasLive && !now.dataset.refresh ? 5000 : undefined);
  }

  function schedule(id, pause) {
    clearTimeout(waiting[id]);
    const part = document.getElementById(id);
    const after = pause || Number(part?.dataset.refresh);
    if (!part || !after || document.hidden) return;
    waiting[id] = setTimeout(() => {
      refresh(id);
      // The rows change with the figures, unless the run is only being counted. While somebody is looking at one of them
      // they stay; they change when the larger view is closed.
      if (id !== "figures" || after <= 1000) return;
      if ($("#viewer")?.open) page.missed = true;
      else refresh("rows");
    }, after);
  }

  const LIVE = ["figures", "runs"];
  document.addEventListener("visibilitychange", () => {
    for (const id of LIVE) {
      if (document.hidden) clearTimeout(waiting[id]);
      else if (document.getElementById(id)?.dataset.refresh) refresh(id);
    }
  });

  // -- choosing rows -----------------------------------------------------------------------------------------------------

  // A row that has changed is no longer the one that was chosen.
  function dropChanged() {
    const changed = $$("#rows [data-row]").filter(
      ({ dataset }) => page.chosen.has(dataset.row) && page.chosen.get(dataset.row) !== dataset.version,
    );
    for (const row of changed) page.chosen.delete(row.dataset.row);
    if (!changed.length) return;
    say(`${changed.length === 1 ? "A chosen row has" : `${changed.length} chosen rows have`} changed: look again and choose`);
    document.dispatchEvent(new CustomEvent("goenhance:chosen", { detail: [...page.chosen.keys()] }));
  }

  function markChosen() {
    for (const box of $$("[data-choose]")) {
      box.checked = page.chosen.has(box.value);
      box.closest("[data-row]").setAttribute("aria-selected", box.checked);
    }
    const bar = $("#toolbar");
    if (!bar) return;
    bar.hidden = !page.chosen.size;
    $("[data-chosen]", bar).textContent = page.chosen.size;
    const all = $("[data-choose-all]");
    if (all) all.checked = $$("[data-choose]").length > 0 && $$("[data-choose]").every((box) => box.checked);
  }

  function choose(rows, chosen) {
    for (const { dataset } of rows) chosen ? page.chosen.set(dataset.row, dataset.version) : page.chosen.delete(dataset.row);
    markChosen();
    document.dispatchEvent(new CustomEvent("goenhance:chosen", { detail: [...page.chosen.keys()] }));
  }

  document.addEventListener("change", (event) => {
    const box = event.target;
    if (box.matches("[data-choose]")) choose([box.closest("[data-row]")], box.checked);
    if (box.matches("[data-choose-all]")) choose(rows(), box.checked);
    if (box.matches("[data-submit]")) box.form.requestSubmit();
  });
  document.addEventListener("click", (event) => {
    if (!event.target.closest("[data-choose-none]")) return;
    page.chosen.clear();
    choose([], false);
  });

  // -- the larger view ---------------------------------------------------------------------------------------------------

  const viewer = $("#viewer");
  const PICTURES = ["source", "reference", "result"];
  let flipped = "result";

  const rows = () => $$("#rows [data-row]");

  function flip(of, root = viewer) {
    flipped = of;
    for (const figure of $$("[data-picture]", root)) figure.classList.toggle("shown", figure.dataset.picture === of);
    for (const button of $$("[data-flip]", root)) button.setAttribute("aria-pressed", button.dataset.flip === of);
  }

  async function show(row, of) {
    if (!row) return;
    page.shown = row.dataset.row;
    const place = rows().indexOf(row);
    const detail = $("[data-detail]", viewer);
    const answer = await fetch(`${row.dataset.url}&fragment=true`, { headers: { Accept: "text/fragment" } });
    const html = answer.ok ? await answer.text() : "<p>The row cannot be shown. It may have been deleted.</p>";
    if (page.shown !== row.dataset.row) return; // another one was asked for meanwhile
    const parsed = new DOMParser().parseFromString(html, "text/html");
    detail.replaceChildren(...[...parsed.body.children].map((node) => document.adoptNode(node)));
    localTimes(detail);
    const title = $("[data-title]", detail)?.dataset.title || "";
    $("#viewer-title").textContent = title;
    $("[data-place]", viewer).textContent = `${place + 1} of ${rows().length} on this page`;
    $("[data-previous]", viewer).disabled = place <= 0;
    $("[data-next]", viewer).disabled = place >= rows().length - 1;
    const wanted = of || flipped;
    flip(wanted);
    // A row without a result shows what it has; the next one shows its result again.
    if (wanted === "result" && !$("[data-picture=result] img", detail)) {
      flip("source");
      flipped = wanted;
    }
    if (!viewer.open) viewer.showModal();
    // Not a button, which the space bar would press.
    detail.focus();
    announce(title);
    document.dispatchEvent(new CustomEvent("goenhance:shown", { detail: $(".detail", detail) }));
  }

  function step(by) {
    const all = rows();
    const place = all.findIndex((row) => row.dataset.row === page.shown);
    show(all[place + by]);
  }
  page.step = step;
  page.show = (id) => show(rows().find((row) => row.dataset.row === id));

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-flip]");
    if (button) flip(button.dataset.flip, button.closest(".detail"));
    if (!viewer) return;
    const link = event.target.closest("[data-open]");
    if (link && !event.ctrlKey && !event.metaKey && !event.button) {
      event.preventDefault();
      show(link.closest("[data-row]"), link.dataset.of || "result");
    }
    if (event.target.closest("[data-close]") || event.target === viewer) viewer.close();
    if (event.target.closest("[data-previous]")) step(-1);
    if (event.target.closest("[data-next]")) step(1);
  });

  viewer?.addEventListener("close", () => {
    const row = rows().find((one) => one.dataset.row === page.shown);
    $("[data-open]", row)?.focus();
    page.shown = null;
    document.dispatchEvent(new CustomEvent("goenhance:shown", { detail: null }));
    if (page.missed) refresh("rows");
    page.missed = false;
  });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) return;
    if (!viewer?.open) {
      // In the grid, arrows move from card to card.
      const card = event.target.closest?.(".card");
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (card && by) {
        const all = rows();
        $("[data-open]", all[all.indexOf(card) + by])?.focus();
        event.preventDefault();
      }
      return;
    }
    const on = {
      ArrowRight: () => step(1),
      ArrowLeft: () => step(-1),
      " ": () => flip(PICTURES[(PICTURES.indexOf(flipped) + 1) % 3]),
      1: () => flip("source"),
      2: () => flip("reference"),
      3: () => flip("result"),
    }[event.key];
    if (on && !(event.key === " " && event.target.matches("button, a"))) {
      event.preventDefault();
      on();
    }
  });

  // -- start ---------------------------------------------------------------------------------------------------------------

  localTimes(document);
  for (const detail of $$(".detail")) flip($("[data-picture=result] img", detail) ? "result" : "source", detail);
  for (const id of LIVE) schedule(id);
})();
