"use strict";
// Times in the reader's zone; refreshing that can be paused and does not take the focus away. The pages are
// complete without this file.
(() => {
  const format = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;

  function showLocalTimes() {
    for (const element of document.querySelectorAll("time[datetime]:not([title])")) {
      const moment = new Date(element.dateTime);
      if (!Number.isNaN(moment.getTime())) {
        element.title = element.textContent;
        element.textContent = format.format(moment);
      }
    }
  }

  const pause = document.getElementById("pause");
  let isPaused = false;
  if (document.querySelector("main[hx-get]")) {
    pause.hidden = false;
  }
  pause.addEventListener("click", () => {
    isPaused = !isPaused;
    pause.setAttribute("aria-pressed", String(isPaused));
  });

  function isInUse() {
    const focused = document.activeElement;
    const main = document.getElementById("main");
    return document.hidden || !document.getSelection().isCollapsed || (focused !== main && main.contains(focused));
  }

  document.body.addEventListener("htmx:beforeRequest", (event) => {
    if (isPaused || isInUse()) {
      event.preventDefault();
    }
  });
  document.body.addEventListener("htmx:beforeSwap", (event) => {
    if (isPaused || isInUse()) {
      event.detail.shouldSwap = false;
    }
  });
  document.body.addEventListener("htmx:afterSwap", showLocalTimes);
  document.querySelector(".zone").textContent = "in your zone, " + zone;
  showLocalTimes();
})();
