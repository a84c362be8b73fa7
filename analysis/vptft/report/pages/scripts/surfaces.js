/* Loss around runs as surfaces to turn: drag, arrow keys, or the sliders. All of a task share one scale and one view. */

const SIDE = 300;
const TALL = 0.8; // of the canvas, to its width
const HEIGHT = 0.75;

function surfaces(stage, data) {
  const colours = bytesOf(data.colours);
  const state = { task: data.runs[0].task, turn: 35, tilt: 30, log: false };
  const tasks = distinct(data.runs.map((run) => run.task));
  const task = choice("Task", tasks.map((name) => [name, name]), (value) => { state.task = value; fill(); });
  const turn = slider("Turn", { min: -180, max: 180, value: state.turn, text: (value) => `${value}°` },
    (value) => { state.turn = value; draw(); });
  const tilt = slider("Tilt", { min: 0, max: 90, value: state.tilt, text: (value) => `${value}°` },
    (value) => { state.tilt = value; draw(); });
  const log = toggle("logarithmic", false, (checked) => { state.log = checked; draw(); });
  const panels = make("div", { class: "surfaces" });
  const range = make("p", { class: "caption", role: "status" });
  stage.append(make("div", { class: "controls" }, task.element, turn.element, tilt.element, log.element), panels, range);
  let views = [];
  fill();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);

  function fill() {
    views = data.runs.filter((run) => run.task === state.task).map((run) => {
      const canvas = make("canvas", { width: 2 * SIDE, height: 2 * SIDE * TALL, tabindex: 0, role: "img",
        onkeydown: pressed, onpointerdown: dragged });
      return { run, canvas };
    });
    panels.replaceChildren(...views.map(({ run, canvas }) =>
      make("figure", {}, canvas, make("figcaption", {}))));
    draw();
  }

  function moved(turnBy, tiltBy) {
    state.turn = ((((state.turn + turnBy + 180) % 360) + 360) % 360) - 180;
    state.tilt = Math.min(90, Math.max(0, state.tilt + tiltBy));
    turn.set(Math.round(state.turn));
    tilt.set(Math.round(state.tilt));
    draw();
  }

  function pressed(event) {
    const step = { ArrowLeft: [-5, 0], ArrowRight: [5, 0], ArrowUp: [0, 5], ArrowDown: [0, -5] }[event.key];
    if (!step) return;
    event.preventDefault();
    moved(...step);
  }

  function dragged(event) {
    const canvas = event.currentTarget;
    let { clientX: x, clientY: y } = event;
    canvas.setPointerCapture(event.pointerId);
    const move = (next) => {
      moved((next.clientX - x) / 2, (next.clientY - y) / 2);
      [x, y] = [next.clientX, next.clientY];
    };
    canvas.addEventListener("pointermove", move);
    for (const end of ["pointerup", "pointercancel"]) {
      canvas.addEventListener(end, () => canvas.removeEventListener("pointermove", move), { once: true });
    }
  }

  function draw() {
    const scaled = (loss) => (state.log ? Math.log(Math.max(loss, 1e-6)) : loss);
    const every = views.flatMap(({ run }) => run.loss.flat().filter((loss) => loss != null));
    const [least, most] = [Math.min(...every), Math.max(...every)];
    const height = (loss) => (scaled(loss) - scaled(least)) / (scaled(most) - scaled(least) || 1);
    const style = getComputedStyle(document.documentElement);
    const ink = style.getPropertyValue("--muted");
    for (const { run, canvas } of views) {
      mesh(canvas, run, height, ink);
      const flat = run.loss.flat().filter((loss) => loss != null);
      const own = `${figures(Math.min(...flat))} to ${figures(Math.max(...flat))} nats`;
      canvas.setAttribute("aria-label", `Loss around ${run.label}: ${own}. Arrow keys turn it.`);
      canvas.parentElement.querySelector("figcaption").replaceChildren(named(run.label), ` (${run.space}): ${own}`);
    }
    range.replaceChildren(`Height and colour: ${data.split} loss, ${figures(least)} to ${figures(most)} nats, one scale ` +
      "for all, from ", colourScale(colours), ". Black dot: the run. Axes: steps along two random directions, in filter norms.");
  }

  function mesh(canvas, run, height, ink) {
    const context = canvas.getContext("2d");
    const [sin, cos] = [Math.sin, Math.cos].map((of) => of((state.turn * Math.PI) / 180));
    const [rise, flat] = [Math.sin, Math.cos].map((of) => of((state.tilt * Math.PI) / 180));
    const [rows, columns] = [run.b.length, run.a.length];
    const size = SIDE * 1.04;
    const point = (x, y, z) => {
      const [across, away] = [x * cos - y * sin, x * sin + y * cos];
      const up = away * rise + (z - 0.5) * HEIGHT * flat;
      return { x: SIDE + size * across * 0.98, y: SIDE * TALL - size * up, depth: away * flat - z * HEIGHT * rise };
    };
    const at = (row, column) => {
      const loss = run.loss[row][column];
      const z = loss == null ? 0 : height(loss);
      return { ...point(column / (columns - 1) - 0.5, row / (rows - 1) - 0.5, z), z };
    };
    const corners = run.loss.map((line, row) => line.map((_, column) => at(row, column)));
    const faces = [];
    for (let row = 0; row + 1 < rows; row++) {
      for (let column = 0; column + 1 < columns; column++) {
        const face = [corners[row][column], corners[row][column + 1], corners[row + 1][column + 1], corners[row + 1][column]];
        const mean = (name) => face.reduce((sum, corner) => sum + corner[name], 0) / 4;
        faces.push({ face, depth: mean("depth"), z: mean("z") });
      }
    }
    faces.sort((a, b) => b.depth - a.depth);
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.lineJoin = "round";
    const floor = [[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]].map(([x, y]) => point(x, y, 0));
    context.beginPath();
    floor.forEach((corner, i) => (i ? context.lineTo(corner.x, corner.y) : context.moveTo(corner.x, corner.y)));
    context.closePath();
    context.strokeStyle = ink;
    context.lineWidth = 1.5;
    context.stroke();
    for (const { face, z } of faces) {
      context.beginPath();
      face.forEach((corner, i) => (i ? context.lineTo(corner.x, corner.y) : context.moveTo(corner.x, corner.y)));
      context.closePath();
      context.fillStyle = `rgb(${colour(colours, z).join(" ")})`;
      context.fill();
      context.strokeStyle = "rgb(255 255 255 / 0.35)";
      context.lineWidth = 1;
      context.stroke();
    }
    const own = corners[(rows - 1) / 2][(columns - 1) / 2];
    context.beginPath();
    context.arc(own.x, own.y, 7, 0, 2 * Math.PI);
    context.fillStyle = "black";
    context.strokeStyle = "white";
    context.lineWidth = 3;
    context.fill();
    context.stroke();
    context.fillStyle = ink;
    context.font = "24px system-ui, sans-serif";
    context.textAlign = "center";
    context.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue("--paper");
    context.lineWidth = 10;
    /* Names at the edges that are nearer to the reader. */
    const near = (x, y) => [point(x, y, 0), point(-x, -y, 0)].sort((first, second) => first.depth - second.depth)[0];
    const ends = (steps) => `${figures(steps[0], 2)} to ${figures(steps[steps.length - 1], 2)}`;
    for (const [name, steps, edge] of [["a", run.a, near(0, 0.62)], ["b", run.b, near(0.62, 0)]]) {
      const text = `${name}: ${ends(steps)}`;
      context.strokeText(text, edge.x, edge.y + 8); // what lies behind stays off the letters
      context.fillText(text, edge.x, edge.y + 8);
    }
  }
}

WIDGETS.surfaces = surfaces;
