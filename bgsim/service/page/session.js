// Who looks at the page, and which verbs the service lets them use.

import { createContext, useContext } from "./vendor/htm-preact.js";

export const Session = createContext({ role: "viewer", tenant: "", verbs: ["read"], local: false });

export function useMay(verb) {
  return useContext(Session).verbs.includes(verb);
}
