// What nodes complain of.

import { live } from "./api.js";
import { banner } from "./app.js";
import { fill, h } from "./dom.js";
import { badge, since, table } from "./tables.js";

const kinds = { firing: "bad", pending: "warn", resolved: "good", inactive: "" };

export function alertsPage(main) {
  const body = h("div", {}, h("p", { class: "empty", "aria-busy": "true" }, "Asking the nodes …"));
  const draw = (told) => {
    const rows = told.nodes.flatMap((node) => (node.alerts?.alerts ?? []).map((alert) => ({ ...alert, node: node.node })));
    const has = told.nodes.some((node) => node.alerts);
    fill(body, table({
      name: "alerts", caption: "Alerts of all nodes", rows, again: () => draw(told),
      empty: has ? "Nothing to complain of." : "No node has alerts: see alerts in its configuration.",
      columns: [
        { name: "Alert", cell: (row) => row.name, value: (row) => row.name },
        { name: "State", cell: (row) => badge(row.state, kinds[row.state]), value: (row) => row.state },
        { name: "Severity", cell: (row) => row.severity ?? "", value: (row) => row.severity ?? "" },
        { name: "Message", cell: (row) => row.message ?? "" },
        { name: "Node", cell: (row) => row.node, value: (row) => row.node },
        { name: "Since", numeric: true, cell: (row) => (row.since ? since(row.since) : "–"), value: (row) => row.since ?? 0 },
      ],
    }));
  };
  fill(main, h("h1", {}, "Alerts"), body);
  return live("nodes", (told) => {
    banner("warn", told.message);
    draw(told);
  }, (words) => banner("error", words));
}
