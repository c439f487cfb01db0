// The streams on one time axis: a lane each, in rows where tokens overlap.

const PIXELS_A_SECOND = 180; // at least; what is longer than the page is scrolled
const LEAST_TOKEN = 14; // pixels

export class Lanes {
  constructor(element, scroll, seek) {
    this.element = element;
    this.scroll = scroll;
    this.seek = seek;
    this.tokens = [];
  }

  show(streams, titles, seconds) {
    this.seconds = seconds;
    this.tokens = [];
    this.element.replaceChildren();
    const width = Math.max(this.scroll.clientWidth, PIXELS_A_SECOND * seconds);
    this.element.style.width = `${width}px`;
    Object.entries(streams).forEach(([name, tokens], i) => {
      const lane = child(this.element, "div", "lane");
      lane.style.setProperty("--lane", `var(--lane-${i % 4})`);
      child(lane, "span", "lane-name", titles[name] ?? name);
      if (!tokens.length) child(lane, "span", "lane-name", ": nothing read");
      for (const row of inRows(tokens, (LEAST_TOKEN / width) * seconds)) this.addRow(lane, row, width);
    });
    this.addAxis();
    this.cursor = child(this.element, "div", "cursor");
    this.at(0);
  }

  addRow(lane, tokens, width) {
    const row = child(lane, "div", "row");
    for (const token of tokens) {
      const box = child(row, "div", "token", token.token);
      box.style.left = `${(100 * token.start) / this.seconds}%`;
      box.style.width = `${Math.max(LEAST_TOKEN, ((token.end - token.start) / this.seconds) * width)}px`;
      box.style.setProperty("--sure", token.confidence);
      box.title = `${token.token}, ${token.start.toFixed(2)} to ${token.end.toFixed(2)} s, ${percent(token.confidence)}`;
      box.addEventListener("click", () => this.seek(token.start));
      this.tokens.push([token, box]);
    }
  }

  addAxis() {
    const axis = child(this.element, "div", "axis");
    const step = [0.5, 1, 2, 5, 10, 30].find((s) => this.seconds / s <= 12) ?? 60;
    for (let t = 0; t < this.seconds - step / 3; t += step) {
      child(axis, "span", "tick", `${t}`).style.left = `${(100 * t) / this.seconds}%`;
    }
    child(axis, "span", "tick", `${this.seconds.toFixed(1)} s`).style.left = "100%";
  }

  at(seconds) {
    if (!this.cursor) return;
    const x = (seconds / this.seconds) * this.element.clientWidth;
    this.cursor.style.left = `${Math.min(x, this.element.clientWidth - 2)}px`;
    for (const [token, box] of this.tokens) {
      box.classList.toggle("now", token.start <= seconds && seconds < token.end);
    }
    const { scrollLeft, clientWidth } = this.scroll;
    if (x < scrollLeft || x > scrollLeft + clientWidth) this.scroll.scrollLeft = x - clientWidth / 3;
  }
}

export const percent = (share) => `${Math.round(100 * share)} %`;

function child(parent, tag, name, text = "") {
  const element = document.createElement(tag);
  element.className = name;
  element.textContent = text;
  return parent.appendChild(element);
}

// Puts each token into the first row whose last token has ended.
function inRows(tokens, leastSeconds) {
  const rows = [];
  for (const token of [...tokens].sort((a, b) => a.start - b.start)) {
    const free = rows.find((row) => {
      const last = row[row.length - 1];
      return Math.max(last.end, last.start + leastSeconds) <= token.start;
    });
    if (free) free.push(token);
    else rows.push([token]);
  }
  return rows;
}
