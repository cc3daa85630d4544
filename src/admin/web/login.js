// Who is there.

import { ask } from "./api.js";
import { field, fill, h } from "./dom.js";

const words = {
  WRONG_USER_OR_PASSWORD: "This user and this password do not belong together.",
  TOO_MANY_FAILED_LOGINS: "Too many logins have failed. Try again in a minute.",
};

export function loginPage(main, done) {
  const user = h("input", { name: "user", autocomplete: "username", required: true, autocapitalize: "none" });
  const password = h("input", { name: "password", type: "password", autocomplete: "current-password", required: true });
  const trouble = h("p", { class: "trouble", role: "alert" });
  const submit = async (event) => {
    event.preventDefault();
    trouble.textContent = "";
    try {
      await ask("POST", "/api/login", { user: user.value, password: password.value });
      done();
    } catch (error) {
      trouble.textContent = words[error.message] ?? error.message;
      password.value = "";
      password.focus();
    }
  };
  fill(main, h("form", { class: "card login", onsubmit: submit },
    h("h1", {}, "Log in"), field("User", user), field("Password", password), trouble,
    h("button", { type: "submit", class: "primary" }, "Log in")));
  user.focus();
}
