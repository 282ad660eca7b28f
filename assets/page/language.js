// The page in Chinese, where the browser asks for it.
//
// Gradio chooses a language for its own words by the browser, writes it into the page's `lang`, and has from us the
// catalogue zh-CN.json, by which it translates labels and choices itself. All other words, whether they come from the
// server, the scripts or Gradio, are English when they arrive and translated here, as soon as they are in the page.
// What has no translation stays English; what a visitor typed stands in `translate="no"`, or in a field.
(() => {
  const chinese = window.gradio_config?.i18n_translations?.["zh-CN"] ?? {};
  const ATTRIBUTES = ["title", "aria-label", "placeholder", "alt"];
  const LEFT_ALONE = '[translate="no"], script, style, textarea';
  const SENTENCES = /(?<=[.!?…]) (?=\S)/;
  const FIELD = /\{([^{}]*)\}/;
  const ANYTHING = "((?:(?! · ).)+?)"; // but several things: these are translated one by one
  const NUMBER = "(\\d.*?)";
  const isChinese = () => document.documentElement.lang.startsWith("zh");

  // Of "{0} objects" a pattern that "3 objects" fits. Those that begin with words come first, and then what says most;
  // what says next to nothing, as "{0}: {1} of {2}", is about numbers.
  const templates = Object.keys(chinese).filter((english) => FIELD.test(english)).map((english) => {
    const parts = english.split(FIELD); // every second is a field
    const words = parts.filter((_, index) => index % 2 === 0);
    const letters = words.join("").replace(/[^A-Za-z]/g, "").length;
    const isOfNumbers = letters < 4 && !chinese[english].includes("!t}");
    const [first, ...rest] = words.map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    const pattern = first + rest.map((word, index) => (isOfNumbers && index ? NUMBER : ANYTHING) + word).join("");
    const fields = parts.filter((_, index) => index % 2);
    return { pattern: new RegExp(`^${pattern}$`, "s"), fields, chinese: chinese[english], says: letters + (words[0] ? 1000 : 0) };
  });
  templates.sort((one, other) => other.says - one.says);

  // The translation of one text, or undefined. A field is filled in as it is, "{0!t}" translated itself.
  function translated(text) {
    if (Object.hasOwn(chinese, text)) return chinese[text];
    if (text.endsWith(".") && Object.hasOwn(chinese, text.slice(0, -1))) return `${chinese[text.slice(0, -1)]}。`;
    const sentences = text.split(SENTENCES);
    for (let end = sentences.length - 1; end > 0; end -= 1) {
      const first = sentences.slice(0, end).join(" "); // several may have one translation
      const said = Object.hasOwn(chinese, first) ? chinese[first] : end === 1 ? translated(first) : undefined;
      const rest = said && translated(sentences.slice(end).join(" "));
      if (rest) return said + rest;
    }
    const whole = filled(text) ?? (text.endsWith(".") ? filled(text.slice(0, -1))?.concat("。") : undefined);
    if (whole) return whole;
    const parts = text.split(" · ");
    if (parts.length > 1) return parts.map((part) => translated(part) ?? part).join(" · ");
    const known = sentences.length > 1 ? sentences.map(translated) : [];
    return known.some(Boolean) ? sentences.map((one, index) => known[index] ?? one).join(" ") : undefined;
  }

  function filled(text) {
    for (const { pattern, fields, chinese } of templates) {
      const found = pattern.exec(text);
      if (!found) continue;
      return chinese.replace(/\{([^{}!]*)(!t)?\}/g, (_, name, isWords) => {
        const value = found[1 + fields.indexOf(name)].trim();
        return isWords ? (translated(value) ?? value) : value;
      });
    }
  }

  // What was said once is often said again.
  const said = new Map();
  function say(text) {
    const [, before, words, after] = /^(\s*)(.*?)(\s*)$/s.exec(text);
    if (!/[A-Za-z]{2}/.test(words)) return text;
    if (!said.has(words)) {
      if (said.size > 2000) said.clear();
      said.set(words, translated(words) ?? words);
    }
    return before + said.get(words) + after;
  }

  // What each text and attribute says in English, and what it shows: who reads another language may change it.
  const shown = new WeakMap();
  function draw(node, name, now, write) {
    const known = shown.get(node)?.[name];
    const english = known?.shows === now ? known.english : now;
    const shows = isChinese() ? say(english) : english;
    if (shows === now && english === now && !known) return;
    shown.set(node, { ...shown.get(node), [name]: { english, shows } });
    if (shows !== now) write(shows);
  }
  function drawText(node) {
    if (node.data.trim() && !node.parentElement?.closest(LEFT_ALONE)) draw(node, "", node.data, (text) => (node.data = text));
  }
  function drawAttribute(element, name) {
    const now = element.getAttribute(name);
    if (now && !element.closest('[translate="no"]')) draw(element, name, now, (text) => element.setAttribute(name, text));
  }
  function drawAll(root) {
    if (root.nodeType === Node.TEXT_NODE) drawText(root);
    if (root.nodeType !== Node.ELEMENT_NODE) return;
    const texts = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) drawText(texts.currentNode);
    const named = ATTRIBUTES.map((name) => `[${name}]`).join();
    for (const element of [root, ...root.querySelectorAll(named)]) {
      for (const name of ATTRIBUTES) if (element.hasAttribute(name)) drawAttribute(element, name);
    }
  }

  let hasSpoken = false; // Chinese: until then there is nothing to do, and nothing to take back
  new MutationObserver((changes) => {
    hasSpoken ||= isChinese();
    if (!hasSpoken) return;
    for (const { type, target, addedNodes, attributeName } of changes) {
      if (type === "childList") addedNodes.forEach(drawAll);
      else if (type === "characterData") drawText(target);
      else if (attributeName === "lang") drawAll(document.body);
      else drawAttribute(target, attributeName);
    }
  }).observe(document.documentElement, { subtree: true, childList: true, characterData: true, attributeFilter: ["lang", ...ATTRIBUTES] });
  if ((hasSpoken = isChinese())) drawAll(document.body);
})();
