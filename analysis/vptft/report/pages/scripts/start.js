/* Everything here is an addition: without scripts the figures, tables and words of the page are all there. */

for (const place of document.querySelectorAll(".widget")) {
  const stage = make("div", {});
  place.append(stage);
  WIDGETS[place.dataset.kind](stage, JSON.parse(place.querySelector("script").textContent));
  place.hidden = false;
}
document.querySelectorAll("table").forEach(sortable);

/* What is wider than its place can be reached and scrolled with the keyboard; what is not is no stop on the way. */
const scrolled = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const wide = target.scrollWidth > target.clientWidth + 1;
    if (wide) target.setAttribute("tabindex", "0");
    else target.removeAttribute("tabindex");
    if (target.classList.contains("card")) {
      const caption = target.parentElement.querySelector("figcaption");
      if (wide) { target.setAttribute("role", "region"); target.setAttribute("aria-label", caption.textContent.trim()); }
      else { target.removeAttribute("role"); target.removeAttribute("aria-label"); }
    }
  }
});
document.querySelectorAll(".scroll, .card").forEach((place) => scrolled.observe(place));

/* A link to a part that is folded opens it. */
const unfold = () => {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let part = target; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
  if (target) target.scrollIntoView();
};
addEventListener("hashchange", unfold);
unfold();
