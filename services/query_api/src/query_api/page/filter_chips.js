// Filters as chips, from what the payloads hold.

import { listFacets } from "./api.js";
import { button, el, icon } from "./dom.js";
import { stringify } from "./exact_json.js";
import { t, keyName } from "./texts.js";

const NO_CHIP = new Set(["file_name", "location"]);
const GROUPS = new Set(["keyword", "integer", "bool"]);

/** The chosen conditions `[{key, label, condition}]` as a filter of the services; null for none. */
export function toFilter(chosen) {
  const byKey = new Map();
  for (const { key, condition } of chosen) byKey.set(key, [...(byKey.get(key) ?? []), condition]);
  const must = [...byKey].map(([key, same]) =>
    same.length === 1 ? same[0] : { key, any_of: same.map(({ match }) => match) },
  );
  return must.length ? { must } : null;
}

/** A row of chips: a menu for each key, "one per ..." if groups are possible, and what removes all filters. */
export class FilterChips {
  /**
   * @param onChange Called with `{filters, per}` when the user has changed them.
   * @param withGroups Whether results can be reduced to one per value of a key.
   */
  constructor(onChange, { withGroups = false } = {}) {
    this._onChange = onChange;
    this._withGroups = withGroups;
    this._facets = [];
    this.element = el("div.chips", { role: "group", "aria-label": t("filters") });
    this.element.hidden = true;
    document.addEventListener("click", (event) => this._closeMenus(event.target));
    this.element.addEventListener("keydown", (event) => {
      const menu = event.target.closest("details[open]");
      if (event.key !== "Escape" || !menu) return;
      event.stopPropagation();
      menu.open = false;
      menu.querySelector("summary").focus();
    });
  }

  /** Read the facets again, and show the chips for these choices; return whether that worked. */
  async load(choice) {
    this._choice = choice;
    const answer = await listFacets().catch(() => null); // without facets there are no chips; searches work
    this._facets = (answer?.facets ?? []).filter(({ key, values }) => !NO_CHIP.has(key) && values.length > 0);
    this.show(this._choice);
    return answer !== null;
  }

  show(choice) {
    this._choice = choice;
    const open = this.element.querySelector("details[open]")?.dataset.key;
    const menus = this._facets.map((facet) => this._facetMenu(facet));
    const groups = this._facets.filter(({ type, values }) => GROUPS.has(type) && values.length > 1);
    if (this._withGroups && groups.length) menus.push(this._groupMenu(groups));
    const any = choice.filters.length > 0 || choice.per;
    const clear =
      any && button("close", t("clear_filters"), () => this._change({ filters: [], per: null }), { kind: "chip" });
    const focused = this.element.contains(document.activeElement) ? document.activeElement.dataset?.choice : null;
    this.element.replaceChildren(...[...menus, clear].filter(Boolean));
    this.element.hidden = menus.length === 0 && !clear;
    for (const menu of menus) menu.open = menu.dataset.key === open;
    if (focused) this.element.querySelector(`[data-choice="${CSS.escape(focused)}"]`)?.focus();
  }

  _change(choice) {
    this.show(choice);
    this._onChange(choice);
  }

  _facetMenu({ key, type, values }) {
    const chosen = this._choice.filters.filter((one) => one.key === key);
    const many = values.every(({ condition }) => ["string", "number", "bigint"].includes(typeof condition.match));
    const options = values.map((value) => ({
      label: labelOf(type, value),
      count: value.count,
      id: stringify(value.condition),
      checked: chosen.some(({ condition }) => stringify(condition) === stringify(value.condition)),
      choose: (checked) => {
        const others = this._choice.filters.filter(
          (one) => one.key !== key || (many && stringify(one.condition) !== stringify(value.condition)),
        );
        const added = checked ? [{ key, label: labelOf(type, value), condition: value.condition }] : [];
        this._change({ ...this._choice, filters: [...others, ...added] });
      },
    }));
    const name = keyName(key, { chip: true });
    const text = chosen.length ? `${name}: ${chosen.map(({ label }) => label).join(", ")}` : name;
    return menu(key, text, options, { active: chosen.length > 0, kind: "checkbox" });
  }

  _groupMenu(groups) {
    const choose = (per) => () => this._change({ ...this._choice, per });
    const options = [
      { label: t("per_all"), id: "per", checked: !this._choice.per, choose: choose(null) },
      ...groups.map(({ key }) => ({
        label: t("per_one", { key: keyName(key) }),
        id: `per ${key}`,
        checked: this._choice.per === key,
        choose: choose(key),
      })),
    ];
    const text = this._choice.per ? t("per_one", { key: keyName(this._choice.per) }) : t("per_all");
    return menu("*per", text, options, { active: Boolean(this._choice.per), kind: "radio" });
  }

  _closeMenus(target) {
    for (const open of this.element.querySelectorAll("details[open]")) if (!open.contains(target)) open.open = false;
  }
}

const labelOf = (type, { label, value }) => (type === "bool" ? t(value ? "yes" : "no") : label);

function menu(key, text, options, { active, kind }) {
  const list = el(
    "ul.options",
    {},
    options.map(({ label, count, id, checked, choose }) => {
      const input = el("input", { type: kind, name: `menu-${key}`, checked, "data-choice": id });
      input.addEventListener("change", () => choose(input.checked));
      return el(
        "li",
        {},
        el(
          "label",
          {},
          input,
          el("span", {}, label),
          count !== undefined && el("span.count", {}, t("number", { n: count })),
        ),
      );
    }),
  );
  return el(
    "details.menu",
    { "data-key": key },
    el(`summary.chip${active ? ".active" : ""}`, {}, el("span", {}, text), icon("down")),
    list,
  );
}
