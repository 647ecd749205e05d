/* Charts for the overview, and figures that stay fresh. The page is complete without this file. */
"use strict";

(() => {
  const page = document.getElementById("overview");
  const updates = document.querySelector(".ov-updates");
  const status = updates.querySelector("[role=status]");
  const button = updates.querySelector("button");
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)");
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const PAUSED = "tracking.overview.paused"; // the key of what this browser remembers
  const LINE = 1.6; // pixels of the card's colour between the strokes of a pattern
  const NAME = 56; // pixels that one name below a chart takes
  let charts = [];

  // Names of countries

  const names = typeof Intl.DisplayNames === "function" ? new Intl.DisplayNames(["en"], { type: "region" }) : null;

  function nameCountries(root) {
    for (const link of root.querySelectorAll("[data-country]")) {
      try {
        link.textContent = `${link.dataset.country} ${names.of(link.dataset.country)}`;
      } catch {
        // not a country: it keeps the letters it has
      }
    }
  }

  // Charts: of the numbers in the page, in its colours, with the patterns of overview.css

  function colour(name) {
    return getComputedStyle(page).getPropertyValue(name).trim();
  }

  function strokes(context, kind) {
    const size = 8;
    const lines = {
      blocked: [[0, size, size, 0], [-2, 2, 2, -2], [6, 10, 10, 6]],
      limited: [[0, 2, size, 2], [0, 6, size, 6]],
      observed: [[2, 0, 2, size], [6, 0, 6, size]],
    };
    const alike = { s5xx: "blocked", s4xx: "limited", s3xx: "observed", other: "observed" };
    context.beginPath();
    for (const [x1, y1, x2, y2] of lines[alike[kind] ?? kind] ?? []) {
      context.moveTo(x1, y1);
      context.lineTo(x2, y2);
    }
    context.stroke();
  }

  function pattern(kind) {
    const tile = document.createElement("canvas");
    tile.width = tile.height = 8;
    const context = tile.getContext("2d");
    context.fillStyle = colour(`--k-${kind}`);
    context.fillRect(0, 0, 8, 8);
    context.strokeStyle = colour("--ov-card");
    context.lineWidth = LINE;
    strokes(context, kind);
    return context.createPattern(tile, "repeat");
  }

  function datasets(parts) {
    return parts.map((part) => ({
      label: part.words,
      data: part.numbers,
      backgroundColor: pattern(part.kind),
      categoryPercentage: 1,
      barPercentage: 0.86,
    }));
  }

  // As many names below the bars as there is room for.
  function name(series, index, width) {
    const named = series.ticks.flatMap((words, at) => (words ? [at] : []));
    const every = Math.ceil((named.length * NAME) / width);
    return named.indexOf(index) % every === 0 ? series.ticks[index] : null;
  }

  function options(series) {
    const ink = colour("--body-quiet-color");
    const hairline = colour("--hairline-color");
    return {
      animation: false,
      maintainAspectRatio: false,
      interaction: { mode: "index", intersect: false },
      onClick: (_, found) => found.length && page.querySelectorAll("#ov-numbers tbody a")[found[0].index].click(),
      onHover: (event, found) => {
        event.native.target.style.cursor = found.length ? "pointer" : "default";
      },
      plugins: {
        legend: { display: false },
        tooltip: {
          filter: (item) => item.raw > 0,
          callbacks: { title: (items) => (items.length ? series.titles[items[0].dataIndex] : "") },
        },
      },
      scales: {
        x: {
          stacked: true,
          grid: { display: false },
          border: { color: hairline },
          ticks: {
            color: ink,
            autoSkip: false,
            maxRotation: 0,
            callback(_, index) {
              return name(series, index, this.chart.width);
            },
          },
        },
        y: {
          stacked: true,
          beginAtZero: true,
          grid: { color: hairline },
          border: { display: false },
          ticks: { color: ink, precision: 0, maxTicksLimit: 6 },
        },
      },
    };
  }

  function draw() {
    for (const chart of charts) {
      chart.destroy();
    }
    const data = document.getElementById("ov-series");
    if (!data || typeof Chart === "undefined") {
      charts = [];
      return;
    }
    const series = JSON.parse(data.textContent);
    Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
    charts = [...page.querySelectorAll("canvas[data-series]")].map((canvas) => {
      canvas.parentElement.hidden = false;
      return new Chart(canvas, {
        type: "bar",
        data: { labels: series.titles, datasets: datasets(series[canvas.dataset.series]) },
        options: options(series),
      });
    });
  }

  // Fresh figures: each part takes the place of its older self, but never under somebody's hands

  function parts(root) {
    return [...root.querySelectorAll("[data-part]")];
  }

  function keepOpen(older, newer) {
    if (older instanceof HTMLDetailsElement) {
      newer.open = older.open;
    }
  }

  function take(fresh) {
    nameCountries(fresh);
    const now = parts(page);
    const next = parts(fresh);
    if (now.map((part) => part.id).join() !== next.map((part) => part.id).join()) {
      page.replaceChildren(...fresh.childNodes);
      draw();
      return;
    }
    const drawn = document.getElementById("ov-series")?.textContent;
    now.forEach((older, index) => {
      const newer = next[index];
      keepOpen(older, newer);
      if (!older.isEqualNode(newer) && !older.contains(document.activeElement)) {
        const top = older.querySelector(".ov-scroll")?.scrollTop ?? 0;
        older.replaceWith(newer);
        newer.querySelector(".ov-scroll")?.scrollTo(0, top);
      }
    });
    if (document.getElementById("ov-series")?.textContent !== drawn) {
      draw();
    }
  }

  function say(words) {
    if (status.textContent !== words) {
      status.textContent = words;
    }
  }

  async function update() {
    const address = new URL(window.location.href);
    address.searchParams.set("fragment", "1");
    try {
      const answer = await fetch(address, { redirect: "manual", credentials: "same-origin" });
      if (answer.type === "opaqueredirect" || answer.status === 403) {
        say("You are no longer signed in: load the page again.");
      } else if (answer.ok) {
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
        take(fresh.body);
        say("");
      } else {
        say("The last update failed.");
      }
    } catch {
      say("The last update failed.");
    }
  }

  function remembered() {
    try {
      return window.localStorage.getItem(PAUSED);
    } catch {
      return null; // a browser that remembers nothing
    }
  }

  function remember(paused) {
    try {
      window.localStorage.setItem(PAUSED, String(paused));
    } catch {
      // then for this page alone
    }
  }

  let paused = remembered() === null ? calm.matches : remembered() === "true";

  function label() {
    button.textContent = paused ? `Update every ${page.dataset.seconds} s` : "Pause updates";
  }

  button.addEventListener("click", () => {
    paused = !paused;
    remember(paused);
    label();
    if (!paused) {
      update();
    }
  });
  window.setInterval(() => {
    if (!paused && !document.hidden) {
      update();
    }
  }, Number(page.dataset.seconds) * 1000);

  new MutationObserver(draw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  dark.addEventListener("change", draw);

  label();
  updates.hidden = false;
  if (names) {
    nameCountries(page);
  }
  draw();
})();
