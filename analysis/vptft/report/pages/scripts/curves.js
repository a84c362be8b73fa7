/* Curves per epoch, with what is drawn chosen by the reader. */

const FRAME = { width: 640, height: 320, left: 56, right: 12, top: 12, bottom: 36 };
const SVG = "http://www.w3.org/2000/svg";

function curves(stage, data) {
  const state = { task: data.tasks[0], quantity: "loss", log: true, seeds: false, off: new Set() };
  const redraw = (name) => (value) => { state[name] = value; draw(); };
  const hide = (key) => (checked) => { checked ? state.off.delete(key) : state.off.add(key); draw(); };
  const task = choice("Task", data.tasks.map((name) => [name, name]), redraw("task"));
  const quantity = choice("Quantity", [["loss", "loss (nats)"], ["accuracy", "accuracy (%)"]], redraw("quantity"));
  const swatch = (dash, tone) => {
    const line = drawn("line", { x1: 0, y1: 5, x2: 22, y2: 5, stroke: tone, "stroke-width": 2.5, "stroke-dasharray": dash });
    return drawn("svg", { width: 22, height: 10, "aria-hidden": "true" }, line);
  };
  const methods = data.methods.map((method) =>
    toggle(method.label, true, hide(`method ${method.name}`), swatch("", method.colour)));
  const splits = data.splits.map((split) =>
    toggle(split.label, true, hide(`split ${split.name}`), swatch(split.dash, "currentColor")));
  const log = toggle("logarithmic", state.log, redraw("log"));
  const seeds = toggle("each seed", state.seeds, redraw("seeds"));
  const chart = make("div", { class: "chart" });
  const readout = make("p", { class: "caption readout", role: "status" });
  stage.append(
    make("div", { class: "controls" }, task.element, quantity.element,
      make("fieldset", {}, make("legend", {}, "Method"), ...methods.map((each) => each.element)),
      make("fieldset", {}, make("legend", {}, "Images"), ...splits.map((each) => each.element)),
      make("fieldset", {}, make("legend", {}, "Draw"), log.element, seeds.element)),
    chart, readout,
  );
  draw();

  function drawn(tag, attributes, ...children) {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  }

  /* What is drawn: a line a run, or the mean over seeds with their range. */
  function lines() {
    const chosen = data.runs.filter((run) => run.task === state.task &&
      !state.off.has(`method ${run.method}`) && !state.off.has(`split ${run.split}`));
    const factor = state.quantity === "accuracy" ? 100 : 1;
    const points = (run) => run.epoch.flatMap((epoch, i) => {
      const value = run[state.quantity][i];
      return value == null ? [] : [[epoch, factor * value]];
    });
    const look = (run) => ({
      colour: data.methods.find((each) => each.name === run.method).colour,
      dash: data.splits.find((each) => each.name === run.split).dash,
      label: `${data.methods.find((each) => each.name === run.method).label}, ` +
        `${data.splits.find((each) => each.name === run.split).label}`,
    });
    if (state.seeds) {
      return chosen.map((run) => ({ ...look(run), label: `${look(run).label}, seed ${run.seed}`, mean: points(run), band: [] }));
    }
    return distinct(chosen.map((run) => `${run.method}\n${run.split}`)).map((key) => {
      const runs = chosen.filter((run) => `${run.method}\n${run.split}` === key);
      const by = new Map();
      for (const [epoch, value] of runs.flatMap(points)) by.set(epoch, [...(by.get(epoch) || []), value]);
      const epochs = [...by.keys()].sort((a, b) => a - b);
      return {
        ...look(runs[0]),
        mean: epochs.map((epoch) => [epoch, by.get(epoch).reduce((sum, value) => sum + value, 0) / by.get(epoch).length]),
        band: runs.length > 1 ? epochs.map((epoch) => [epoch, Math.min(...by.get(epoch)), Math.max(...by.get(epoch))]) : [],
      };
    });
  }

  function draw() {
    log.input.disabled = state.quantity !== "loss";
    const shown = lines().filter((line) => line.mean.length);
    readout.textContent = state.seeds ? "A line a seed." : "Mean over seeds, band: their range. Point at an epoch, or use the arrow keys, for its values.";
    if (!shown.length) return chart.replaceChildren(make("p", { class: "missing" }, "Nothing is chosen, or nothing was kept."));
    const logarithmic = state.log && state.quantity === "loss";
    const values = shown.flatMap((line) => [...line.mean.map(([, value]) => value), ...line.band.flatMap(([, a, b]) => [a, b])])
      .filter((value) => !logarithmic || value > 0);
    const epochs = shown.flatMap((line) => line.mean.map(([epoch]) => epoch));
    const of = (value) => (logarithmic ? Math.log10(Math.max(value, 1e-12)) : value);
    const { width, height, left, right, top, bottom } = FRAME;
    const [first, last] = [Math.min(...epochs), Math.max(...epochs)];
    const [low, high] = [of(Math.min(...values)), of(Math.max(...values))];
    const x = (epoch) => left + ((epoch - first) / (last - first || 1)) * (width - left - right);
    const y = (value) => height - bottom - ((of(value) - low) / (high - low || 1)) * (height - top - bottom);
    const svg = drawn("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", tabindex: 0,
      "aria-label": `${state.quantity} by epoch on ${state.task}: ${shown.map((line) => line.label).join("; ")}. ` +
        "Arrow keys tell an epoch's values." });
    for (const tick of ticks(low, high, logarithmic)) {
      svg.append(drawn("line", { x1: left, x2: width - right, y1: y(tick), y2: y(tick), class: "rule" }),
        drawn("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, figures(tick)));
    }
    for (const tick of ticks(first, last, false).filter((each) => Number.isInteger(each))) {
      svg.append(drawn("text", { x: x(tick), y: height - bottom + 16, "text-anchor": "middle" }, String(tick)));
    }
    svg.append(drawn("text", { x: (left + width) / 2, y: height - 4, "text-anchor": "middle" }, "epoch"),
      drawn("text", { x: 12, y: (height - bottom) / 2, "text-anchor": "middle", transform: `rotate(-90 12 ${(height - bottom) / 2})` },
        state.quantity === "loss" ? "loss, nats" : "accuracy, %"));
    for (const line of shown) {
      const path = (points) => points.map(([epoch, value], i) => `${i ? "L" : "M"}${x(epoch).toFixed(1)} ${y(value).toFixed(1)}`).join("");
      if (line.band.length) {
        const edge = [...line.band.map(([epoch, , most]) => [epoch, most]), ...line.band.map(([epoch, least]) => [epoch, least]).reverse()];
        svg.append(drawn("path", { d: `${path(edge)}Z`, fill: line.colour, "fill-opacity": 0.15 }));
      }
      svg.append(drawn("path", { d: path(line.mean), fill: "none", stroke: line.colour, "stroke-width": 2,
        "stroke-dasharray": line.dash }));
    }
    const rule = drawn("line", { y1: top, y2: height - bottom, class: "pointer", visibility: "hidden" });
    svg.append(rule);
    const order = distinct(epochs).sort((a, b) => a - b);
    let at = order.length - 1;
    const tell = (nearest) => {
      at = order.indexOf(nearest);
      rule.setAttribute("x1", x(nearest));
      rule.setAttribute("x2", x(nearest));
      rule.setAttribute("visibility", "visible");
      const told = shown.flatMap((line) => line.mean.filter(([each]) => each === nearest).map(([, value]) => `${line.label} ${figures(value)}`));
      readout.textContent = `Epoch ${nearest}: ${told.join("; ")}`;
    };
    svg.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const epoch = first + (((event.clientX - box.left) / box.width) * width - left) / (width - left - right) * (last - first);
      tell(order.reduce((best, each) => (Math.abs(each - epoch) < Math.abs(best - epoch) ? each : best)));
    });
    svg.addEventListener("keydown", (event) => {
      const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: order.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      tell(order[Math.min(order.length - 1, Math.max(0, to))]);
    });
    chart.replaceChildren(svg);
  }

  function ticks(low, high, logarithmic) {
    if (logarithmic) {
      const marks = high - low > 2.5 ? [1] : high - low > 1 ? [1, 3] : [1, 2, 3, 5, 7];
      const found = [];
      for (let power = Math.floor(low); power <= high; power++) {
        for (const mark of marks) found.push(mark * 10 ** power);
      }
      const inside = found.filter((tick) => Math.log10(tick) >= low - 1e-9 && Math.log10(tick) <= high + 1e-9);
      return inside.length > 1 ? inside : [10 ** low, 10 ** high];
    }
    const rough = (high - low || 1) / 5;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 5, 10].find((each) => each * power >= rough);
    const found = [];
    for (let tick = Math.ceil(low / step - 1e-9) * step; tick <= high + step * 1e-9; tick += step) found.push(Number(tick.toPrecision(12)));
    return found;
  }
}

WIDGETS.curves = curves;
