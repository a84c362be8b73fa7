/* Where each model looks: images drawn by a seed, over them any kind of map, or one layer and head. */

const SIDES = ["VPT", "FT"];
const LAYERS = "layers";
const STEP = 12;

function attention(stage, data) {
  const colours = bytesOf(data.colours);
  const sets = data.sets.map((set) => ({
    ...set,
    maps: bytesOf(set.maps),
    head_maps: set.head_maps ? bytesOf(set.head_maps) : null,
  }));
  const entries = sets.flatMap((set) => set.images.map((image, index) => ({ set, image, index })));
  const state = { task: sets[0].task, quadrant: "", outcome: "", side: "", kind: sets[0].kinds[0].name, opacity: 0.6,
    layer: sets[0].layers - 1, head: -1, limit: STEP };
  const kinds = distinct(sets.flatMap((set) => set.kinds.map((kind) => kind.name)));
  const known = (name) => sets.flatMap((set) => set.kinds).find((kind) => kind.name === name);
  const deep = sets.some((set) => set.head_maps);
  const most = (name) => Math.max(...sets.map((set) => set[name]));

  const change = (name, reset = true) => (value) => {
    state[name] = value;
    if (reset) state.limit = STEP;
    draw();
  };
  const all = [["", "all"]];
  const listed = (values) => [...all, ...distinct(values).map((value) => [value, value])];
  const task = choice("Task", listed(sets.map((set) => set.task)), change("task"));
  task.select.value = state.task;
  const quadrants = distinct(sets.map((set) => set.quadrant).filter(Boolean));
  const quadrant = choice("Quadrant", [...all, ...quadrants.map((value) => [value, value])], (value) => {
    task.select.value = state.task = "";
    change("quadrant")(value);
  });
  const outcome = choice("Who is right", listed(data.outcomes), change("outcome"));
  const side = choice("Method", [["", "both"], ["0", "VPT"], ["1", "FT"]], change("side"));
  const kind = choice(
    "Map",
    [...kinds.map((name) => [name, known(name).title]), ...(deep ? [[LAYERS, "one layer's attention"]] : [])],
    change("kind", false),
  );
  const layer = slider(
    "Layer", { min: 1, max: most("layers"), value: state.layer + 1 },
    (value) => change("layer", false)(value - 1),
  );
  const head = slider(
    "Head", { min: 0, max: most("heads"), value: 0, text: (value) => (value ? String(value) : "mean") },
    (value) => change("head", false)(value - 1),
  );
  const opacity = slider(
    "Opacity", { min: 0, max: 1, step: 0.05, value: state.opacity, text: (value) => value.toFixed(2) },
    change("opacity", false),
  );
  const largest = document.createTextNode("");
  const scale = make("p", { class: "caption" }, "0 ", colourScale(colours), largest);
  const caution = make("p", { class: "caption" });
  const checked = make("p", { class: "caption failed" });
  const status = make("p", { class: "caption", role: "status" });
  const grid = make("div", { class: "looks" });
  const more = make("button", { type: "button", onclick: () => { state.limit += STEP; draw(); } }, "Show more");
  stage.append(
    make(
      "div", { class: "controls" }, task.element, ...(quadrants.length > 1 ? [quadrant.element] : []), outcome.element,
      side.element, kind.element, ...(deep ? [layer.element, head.element] : []), opacity.element,
    ),
    scale, caution, checked, status, grid, more,
  );
  draw();

  function draw() {
    const of_layer = state.kind === LAYERS;
    for (const control of [layer, head]) control.input.disabled = !of_layer;
    const fits = entries.filter(({ set, image }) =>
      (!state.task || set.task === state.task) && (!state.quadrant || set.quadrant === state.quadrant) &&
      (!state.outcome || image.outcome === state.outcome));
    const shown = fits.slice(0, state.limit);
    const failed = sets.filter((set) => !state.task || set.task === state.task)
      .flatMap((set) => set.kinds.filter((each) => each.name === state.kind && each.failed !== "")
        .map((each) => `${set.task}: ${each.failed ? `fails its sanity check (${each.failed})` : "sanity not checked"}`));
    largest.textContent = ` an image's largest value over ${of_layer ? "all layers, heads and " : ""}both methods; ` +
      "colours follow the root, and both methods share the scale";
    caution.textContent = of_layer
      ? "Attention of what the head reads in one layer, as it is: a late token is no longer what stood at its place."
      : known(state.kind).about;
    checked.textContent = distinct(failed).join("; ");
    const drawn = distinct(shown.map(({ set }) => set.drawn)).join(" ");
    status.textContent = `${shown.length} of ${fits.length} images that fit. ${drawn}`;
    more.hidden = shown.length === fits.length;
    grid.replaceChildren(...shown.map(card));
  }

  function card({ set, image, index }) {
    const picture = new Image();
    picture.alt = `Test image ${image.id} of ${set.task}: ${image.label}`;
    picture.src = image.source;
    const sides = SIDES.flatMap((name, number) =>
      state.side === "" || Number(state.side) === number ? [looked(set, image, index, picture, name, number)] : []);
    return make(
      "figure", { class: "look", "data-outcome": image.outcome },
      make("div", { class: "pair" }, make("div", {}, picture, make("div", { class: "side" }, named(image.label))), ...sides),
      make("figcaption", {}, named(set.task), ", ", named(image.id), `: ${image.outcome}`),
    );
  }

  function looked(set, image, index, picture, name, number) {
    const found = values(set, index, number);
    const canvas = make("canvas", { width: 160, height: 160, role: "img" });
    if (!found) return make("div", {}, canvas, make("div", { class: "side" }, `${name}: not made of this image`));
    const said = [`${name}: `, named(image.predicted[number]), image.right[number] ? ", right" : ", wrong"];
    const largest = found.map.indexOf(Math.max(...found.map));
    const [, width] = set.grid;
    canvas.setAttribute("aria-label",
      `${name}, strongest in row ${Math.floor(largest / width) + 1}, column ${largest % width + 1}`);
    const paint = () => overlay(canvas, picture, found, set.grid);
    if (picture.complete && picture.naturalWidth) paint();
    picture.addEventListener("load", paint);
    return make(
      "div", {}, canvas, make("div", { class: `side ${image.right[number] ? "right" : "wrong"}` }, ...said),
      ...(found.masses ? [bar(found.masses)] : []),
      ...(found.object == null ? [] : [make("div", { class: "mass" }, `on the object ${found.object.toFixed(2)}`)]),
      ...(found.gap == null ? [] : [make("div", { class: "mass" }, `completeness gap ${figures(Math.round(100 * found.gap) + 0)}%`)]),
    );
  }

  /* The map of one image and side, from 0 to 1, and what of the whole is not in it. */
  function values(set, index, number) {
    const size = set.grid[0] * set.grid[1];
    if (state.kind === LAYERS) {
      if (!set.head_maps || state.layer >= set.layers || state.head >= set.heads) return null;
      const chosen = state.head < 0 ? [...Array(set.heads).keys()] : [state.head];
      const mean = new Array(size).fill(0);
      let prompts = 0;
      for (const each of chosen) {
        const at = (((index * 2 + number) * set.layers + state.layer) * set.heads + each) * size;
        for (let i = 0; i < size; i++) mean[i] += (set.head_maps[at + i] / 255) ** 2 / chosen.length;
        prompts += set.prompt_share[index][number][state.layer][each] / chosen.length;
      }
      return { map: mean.map(Math.sqrt), masses: { prompts, rest: 1 - prompts }, object: null, gap: null };
    }
    const kind = set.kinds.findIndex((each) => each.name === state.kind);
    if (kind < 0 || !set.made[index][kind]) return null;
    const at = ((index * 2 + number) * set.kinds.length + kind) * size;
    const map = Array.from(set.maps.subarray(at, at + size), (value) => value / 255);
    const [masses, object, gap] = [set.masses, set.object, set.gap].map((of) => of[index][number][kind]);
    return { map, masses, object, gap };
  }

  function overlay(canvas, picture, found, [rows, columns]) {
    const context = canvas.getContext("2d");
    const { width, height } = canvas;
    context.imageSmoothingEnabled = false;
    context.drawImage(picture, 0, 0, width, height);
    found.map.forEach((value, place) => {
      const row = Math.floor(place / columns);
      const column = place % columns;
      const [left, right] = [column, column + 1].map((edge) => Math.round((edge * width) / columns));
      const [top, bottom] = [row, row + 1].map((edge) => Math.round((edge * height) / rows));
      context.fillStyle = `rgb(${colour(colours, value).join(" ")} / ${state.opacity})`;
      context.fillRect(left, top, right - left, bottom - top);
    });
  }

  function bar(masses) {
    const parts = Object.entries(masses).filter(([, mass]) => mass > 0.0005);
    const text = parts.map(([name, mass]) => `${name} ${mass.toFixed(2)}`).join(", ");
    return make(
      "div", { class: "mass" },
      make("div", { class: "bar", role: "img", "aria-label": text },
        ...parts.map(([name, mass]) => make("span", { class: name, style: `flex-grow: ${mass}` }))),
      text,
    );
  }
}

WIDGETS.attention = attention;
