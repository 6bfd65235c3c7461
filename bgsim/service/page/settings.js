// What a person chose for this browser: local time or UTC, the theme.

const listeners = new Set();

export const settings = {
  utc: localStorage.getItem("bgsim.utc") === "yes",
  get theme() {
    return document.documentElement.dataset.theme ?? "system";
  },
};

export function setUtc(utc) {
  settings.utc = utc;
  localStorage.setItem("bgsim.utc", utc ? "yes" : "no");
  tell();
}

export function setTheme(theme) {
  if (theme === "system") {
    delete document.documentElement.dataset.theme;
    localStorage.removeItem("bgsim.theme");
  } else {
    document.documentElement.dataset.theme = theme;
    localStorage.setItem("bgsim.theme", theme);
  }
  tell();
}

const tell = () => listeners.forEach((listener) => listener());

export function onSettings(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", tell);
