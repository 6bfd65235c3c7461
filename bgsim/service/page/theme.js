// Runs before the first paint: a theme that was chosen by hand.
{
  const chosen = localStorage.getItem("bgsim.theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
}
