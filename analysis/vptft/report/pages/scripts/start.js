/* Everything here is an addition: without scripts the figures, tables and words of the page are all there. */

for (const place of document.querySelectorAll(".widget")) {
  const stage = make("div", {});
  place.append(stage);
  WIDGETS[place.dataset.kind](stage, JSON.parse(place.querySelector("script").textContent));
  place.hidden = false;
}
document.querySelectorAll("table").forEach(sortable);

/* A link to a part that is folded opens it. */
const unfold = () => {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let part = target; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
  if (target) target.scrollIntoView();
};
addEventListener("hashchange", unfold);
unfold();
