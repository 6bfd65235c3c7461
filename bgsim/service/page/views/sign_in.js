// Sign in: a token becomes a cookie that scripts cannot read.

import { html, useRef, useState } from "../vendor/htm-preact.js";
import { Field } from "../fields.js";
import { Trouble } from "../parts.js";
import { Choices, signIn } from "../shell.js";

const NAMES = new Set(["token"]);

export function SignIn({ onDone }) {
  const [token, set] = useState("");
  const [problem, setProblem] = useState(null);
  const [busy, setBusy] = useState(false);
  const form = useRef();
  const send = async (event) => {
    event.preventDefault();
    setBusy(true);
    try {
      await signIn(token.trim());
      onDone();
    } catch (refused) {
      setProblem(refused);
      form.current.querySelector("input").focus();
    } finally {
      setBusy(false);
    }
  };
  return html`<main class="alone"><form class="sign-in" ref=${form} onSubmit=${send}>
    <h1>bgsim</h1>
    <p>Paste the token that the service's owner gave you. They make one with <code>bgsim token new</code>.</p>
    <${Field} label="Token" name="token" wide value=${token} onInput=${set} error=${problem?.about("token")} placeholder="bgs_…" />
    <${Trouble} problem=${problem} beside=${NAMES} />
    <footer><button class="primary" type="submit" disabled=${busy || !token.trim()} aria-busy=${busy}>Sign in</button></footer>
    <${Choices} />
  </form></main>`;
}
