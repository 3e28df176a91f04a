// Every text of the page, in English and German. `{name}` is a value; a text with forms is chosen by `n`.

const EN = {
  title: "Search by photograph",
  skip: "Skip to the content",
  views: "Views",
  notes: "Notes",
  search: "Search",
  gallery: "Gallery",
  add: "Add",
  dismiss: "Dismiss",
  close: "Close",
  try_again: "Try again",
  undo: "Undo",
  done: "Done",
  save: "Save",
  cancel: "Cancel",
  show_more: "Show more",
  delete: "Delete",
  edit: "Edit details",
  download: "Download",
  yes: "Yes",
  no: "No",

  search_title: "Find it in your photographs",
  search_lead: "Show one photograph of a thing or a place, and see every picture of it that you have.",
  drop_here: "Drop a photograph anywhere, paste one, or",
  add_photographs: "Add photographs",
  choose_photograph: "Choose a photograph",
  take_photograph: "Take a photograph",
  choose_another: "Choose another photograph",
  recent: "Or start with one of these",
  drop_to_search: "Drop to search with this photograph. A folder is added to the gallery.",
  drop_to_add: "Drop to add to the gallery",
  your_photograph: "Your photograph",
  your_photograph_short: "The photograph",
  new_search: "New search",
  region: "Part to search with",
  region_hint: "Drag over the photograph to search with a part of it.",
  select_part: "Select a part",
  whole_photograph: "Whole photograph",
  on_this_device: "Search on this device",
  on_this_device_why:
    "Your photograph does not leave this device: it is described here, and only that description is sent.",
  searching: "Searching…",
  loading_encoder: "Preparing this device ({size}), once…",
  found: { one: "1 photograph", other: "{n} photographs" },
  found_weak: "No certain match. These are the most similar.",
  found_same: { one: "1 shows the same", other: "{n} show the same" },
  less_alike: { one: "1 less similar", other: "{n} less similar" },
  strength_same: "Same",
  strength_likely: "Likely",
  strength_weak: "Weak",
  strength_same_long: "The same",
  strength_likely_long: "Likely the same",
  strength_weak_long: "Less similar",
  score: "Similarity {percent}",
  no_thumbnail: "No preview",
  similar: "find more like it",

  filters: "Filters",
  clear_filters: "Clear filters",
  per_all: "All results",
  per_one: "One per {key}",
  key_folder: "Folder",
  key_taken_at: "Taken",
  chip_taken_at: "Year",
  key_camera: "Camera",
  key_location: "Place",
  key_file_name: "File",
  nothing_filtered: "No photograph matches these filters. Clear one of them to see more.",

  welcome_title: "Search your own photographs",
  welcome_lead:
    "Add them once. Then show a photograph of a thing or a place, and find every picture of it that you have.",
  empty_gallery: "There are no photographs to search yet.",
  empty_begin:
    "Drop a folder of photographs anywhere on this page, or choose one. Your photographs stay on your own server.",
  empty_begin_terminal:
    "This page cannot add any, because no indexer is set up for it. On the server: aff index FOLDER.",

  photographs: { one: "1 photograph", other: "{n} photographs" },
  order: "Order",
  order_newest: "Newest first",
  order_oldest: "Oldest first",
  added_day: "Added {day}",
  selection: "Selection",
  select_one: "Select {name}",
  clear_selection: "Clear selection",
  selected: { one: "1 selected", other: "{n} selected" },
  see_gallery: "See the gallery",

  details: "Details",
  size: "Size",
  pixels: "{width} × {height} pixels",
  added_on: "Added",
  id: "ID",
  previous: "Previous",
  next: "Next",
  more_like_this: "More like this",
  photo_alt: "Photograph {name}",
  photo_of: "{name}, {n} of {total}",
  no_original: "Enlarged from the preview: the original is not on this server.",
  add_detail: "Add a detail",
  detail_name: "Name",
  detail_value: "Value",
  saved: "Saved.",
  not_a_value: "“{name}” is not a valid value. Put a text in double quotes.",
  deleted: { one: "1 photograph deleted.", other: "{n} photographs deleted." },

  add_title: "Add photographs",
  add_lead: "Everything you add can be searched at once, with its folder, date and camera as filters.",
  add_drop: "Drop a folder or photographs here",
  add_folder: "Choose a folder",
  add_files: "Choose photographs",
  add_safe:
    "You can close this page at any time: adding continues when you open it again. Photographs that are in the gallery already are skipped.",
  add_progress: "Progress",
  add_of: "{done} of {total}",
  add_done: { one: "Done: 1 photograph added.", other: "Done: {n} photographs added." },
  add_again: "Nothing is lost. Adding continues automatically.",
  add_lost: {
    one: "There was no room to keep 1 photograph when the page was closed. Add its folder again: the others are skipped.",
    other:
      "There was no room to keep {n} photographs when the page was closed. Add their folder again: the others are skipped.",
  },
  pause: "Pause",
  go_on: "Resume",
  stop: "Stop",
  search_now: "Search now",
  clear_list: "Clear the list",
  receipts: "Files",
  passed_over: {
    one: "1 file is not a photograph and was left out.",
    other: "{n} files are not photographs and were left out.",
  },
  group_all: "All",
  group_waiting: "Waiting",
  group_added: "Added",
  group_duplicate: "Already there",
  group_rejected: "Not added",
  status_sending: "Adding…",
  status_indexed: "Added",
  status_updated: "Replaced",
  status_duplicate: "Already there",
  status_rejected: "Not added",
  status_lost: "Add again",
  rejected_unreadable: "{name} is not a photograph that can be read.",
  rejected_damaged: "{name} is damaged or incomplete.",
  rejected_small: "{name} is too small to recognise anything.",
  rejected_moved: "{name} was moved or deleted in the meantime.",
  rejected_large: "{name} is too large.",

  service_query: "the search service",
  service_indexer: "the indexer",
  error_offline: "You are offline. Connect to the network, then try again.",
  error_unreachable: "No answer from {service}. Check that it is running, then try again.",
  error_busy: "Too many requests at the moment. Try again in {seconds} s.",
  error_unreadable:
    "“{file}” is not a photograph that can be read. Choose a JPEG, PNG, WebP, AVIF, HEIC, GIF, BMP or TIFF file.",
  error_too_large: "“{file}” is too large. Choose a smaller version of it.",
  error_gone: "“{file}” is no longer in the gallery. Start a new search.",
  error_empty: "There are no photographs to search yet.",
  error_not_ready: "The gallery is not ready: {detail}. Try again in a moment.",
  error_key_query: "Searching needs a key.",
  error_key_indexer: "Adding, editing and deleting need a key.",
  error_key_wrong: "That key is not valid here. Check it and enter it again.",
  error_no_encoder_query:
    "This gallery was imported from another tool and cannot be searched with a photograph. Open one of its photographs, and search for similar ones.",
  error_no_encoder_indexer:
    "This gallery was imported from another tool, so no photographs can be added. Build a collection with a model first (aff gallery build).",
  error_no_indexer:
    "Adding, editing and deleting are not possible here, because no indexer is set up for this page. Set AFF_QUERY_PAGE_INDEXER_URL on the server, or use the command aff.",
  error_unsupported_here:
    "This browser cannot read “{file}”. Switch off “Search on this device”, or choose another photograph.",
  error_other: "That did not work: {detail}",
  key_query: "Key for searching",
  key_indexer: "Key for adding and deleting",
  use_key: "Use this key",
};

const DE = {
  title: "Suche per Foto",
  skip: "Zum Inhalt springen",
  views: "Ansichten",
  notes: "Hinweise",
  search: "Suchen",
  gallery: "Galerie",
  add: "Hinzufügen",
  dismiss: "Ausblenden",
  close: "Schließen",
  try_again: "Erneut versuchen",
  undo: "Rückgängig",
  done: "Fertig",
  save: "Speichern",
  cancel: "Abbrechen",
  show_more: "Mehr anzeigen",
  delete: "Löschen",
  edit: "Angaben bearbeiten",
  download: "Herunterladen",
  yes: "Ja",
  no: "Nein",

  search_title: "Finde es in deinen Fotos",
  search_lead: "Zeige ein Foto von einem Gegenstand oder Ort und sieh alle deine Bilder davon.",
  drop_here: "Lege irgendwo ein Foto ab, füge eines ein oder",
  add_photographs: "Fotos hinzufügen",
  choose_photograph: "Foto auswählen",
  take_photograph: "Foto aufnehmen",
  choose_another: "Anderes Foto auswählen",
  recent: "Oder beginne mit einem von diesen",
  drop_to_search: "Ablegen, um mit diesem Foto zu suchen. Ein Ordner wird der Galerie hinzugefügt.",
  drop_to_add: "Ablegen, um zur Galerie hinzuzufügen",
  your_photograph: "Dein Foto",
  your_photograph_short: "Das Foto",
  new_search: "Neue Suche",
  region: "Ausschnitt, mit dem gesucht wird",
  region_hint: "Ziehe über das Foto, um mit einem Ausschnitt zu suchen.",
  select_part: "Ausschnitt wählen",
  whole_photograph: "Ganzes Foto",
  on_this_device: "Auf diesem Gerät suchen",
  on_this_device_why:
    "Dein Foto verlässt dieses Gerät nicht: Es wird hier beschrieben, und nur diese Beschreibung wird gesendet.",
  searching: "Suche läuft …",
  loading_encoder: "Dieses Gerät wird einmalig vorbereitet ({size}) …",
  found: { one: "1 Foto", other: "{n} Fotos" },
  found_weak: "Kein sicherer Treffer. Das sind die ähnlichsten.",
  found_same: { one: "1 zeigt dasselbe", other: "{n} zeigen dasselbe" },
  less_alike: { one: "1 weniger ähnliches", other: "{n} weniger ähnliche" },
  strength_same: "Dasselbe",
  strength_likely: "Wahrscheinlich",
  strength_weak: "Schwach",
  strength_same_long: "Dasselbe",
  strength_likely_long: "Wahrscheinlich dasselbe",
  strength_weak_long: "Weniger ähnlich",
  score: "Ähnlichkeit {percent}",
  no_thumbnail: "Keine Vorschau",
  similar: "ähnliche suchen",

  filters: "Filter",
  clear_filters: "Filter entfernen",
  per_all: "Alle Treffer",
  per_one: "Einer je {key}",
  key_folder: "Ordner",
  key_taken_at: "Aufgenommen",
  chip_taken_at: "Jahr",
  key_camera: "Kamera",
  key_location: "Ort",
  key_file_name: "Datei",
  nothing_filtered: "Zu diesen Filtern passt kein Foto. Entferne einen, um mehr zu sehen.",

  welcome_title: "Durchsuche deine eigenen Fotos",
  welcome_lead: "Füge sie einmal hinzu. Zeige dann ein Foto von einem Gegenstand oder Ort und finde alle Bilder davon.",
  empty_gallery: "Es gibt noch keine Fotos, die durchsucht werden können.",
  empty_begin:
    "Lege irgendwo auf dieser Seite einen Ordner mit Fotos ab oder wähle einen aus. Deine Fotos bleiben auf deinem eigenen Server.",
  empty_begin_terminal:
    "Diese Seite kann keine hinzufügen, weil für sie kein Indexer eingerichtet ist. Auf dem Server: aff index ORDNER.",

  photographs: { one: "1 Foto", other: "{n} Fotos" },
  order: "Reihenfolge",
  order_newest: "Neueste zuerst",
  order_oldest: "Älteste zuerst",
  added_day: "{day} hinzugefügt",
  selection: "Auswahl",
  select_one: "{name} auswählen",
  clear_selection: "Auswahl aufheben",
  selected: { one: "1 ausgewählt", other: "{n} ausgewählt" },
  see_gallery: "Galerie ansehen",

  details: "Angaben",
  size: "Größe",
  pixels: "{width} × {height} Pixel",
  added_on: "Hinzugefügt",
  id: "ID",
  previous: "Voriges",
  next: "Nächstes",
  more_like_this: "Ähnliche suchen",
  photo_alt: "Foto {name}",
  photo_of: "{name}, {n} von {total}",
  no_original: "Aus der Vorschau vergrößert: Das Original liegt nicht auf diesem Server.",
  add_detail: "Angabe hinzufügen",
  detail_name: "Name",
  detail_value: "Wert",
  saved: "Gespeichert.",
  not_a_value: "„{name}“ ist kein gültiger Wert. Setze einen Text in doppelte Anführungszeichen.",
  deleted: { one: "1 Foto gelöscht.", other: "{n} Fotos gelöscht." },

  add_title: "Fotos hinzufügen",
  add_lead: "Alles, was du hinzufügst, kann sofort gesucht werden, mit Ordner, Datum und Kamera als Filter.",
  add_drop: "Lege hier einen Ordner oder Fotos ab",
  add_folder: "Ordner auswählen",
  add_files: "Fotos auswählen",
  add_safe:
    "Du kannst diese Seite jederzeit schließen: Das Hinzufügen wird fortgesetzt, wenn du sie wieder öffnest. Fotos, die schon in der Galerie sind, werden übersprungen.",
  add_progress: "Fortschritt",
  add_of: "{done} von {total}",
  add_done: { one: "Fertig: 1 Foto hinzugefügt.", other: "Fertig: {n} Fotos hinzugefügt." },
  add_again: "Nichts geht verloren. Das Hinzufügen wird automatisch fortgesetzt.",
  add_lost: {
    one: "Für 1 Foto war beim Schließen der Seite kein Platz. Füge seinen Ordner noch einmal hinzu: Die anderen werden übersprungen.",
    other:
      "Für {n} Fotos war beim Schließen der Seite kein Platz. Füge ihren Ordner noch einmal hinzu: Die anderen werden übersprungen.",
  },
  pause: "Anhalten",
  go_on: "Fortsetzen",
  stop: "Beenden",
  search_now: "Jetzt suchen",
  clear_list: "Liste leeren",
  receipts: "Dateien",
  passed_over: {
    one: "1 Datei ist kein Foto und wurde ausgelassen.",
    other: "{n} Dateien sind keine Fotos und wurden ausgelassen.",
  },
  group_all: "Alle",
  group_waiting: "Wartend",
  group_added: "Hinzugefügt",
  group_duplicate: "Schon da",
  group_rejected: "Nicht hinzugefügt",
  status_sending: "Wird hinzugefügt …",
  status_indexed: "Hinzugefügt",
  status_updated: "Ersetzt",
  status_duplicate: "Schon da",
  status_rejected: "Nicht hinzugefügt",
  status_lost: "Noch einmal hinzufügen",
  rejected_unreadable: "{name} ist kein Foto, das gelesen werden kann.",
  rejected_damaged: "{name} ist beschädigt oder unvollständig.",
  rejected_small: "{name} ist zu klein, um etwas zu erkennen.",
  rejected_moved: "{name} wurde inzwischen verschoben oder gelöscht.",
  rejected_large: "{name} ist zu groß.",

  service_query: "vom Suchdienst",
  service_indexer: "vom Indexer",
  error_offline: "Du bist offline. Verbinde dich mit dem Netz und versuche es noch einmal.",
  error_unreachable: "Keine Antwort {service}. Prüfe, ob der Dienst läuft, und versuche es noch einmal.",
  error_busy: "Im Augenblick sind es zu viele Anfragen. Versuche es in {seconds} s noch einmal.",
  error_unreadable:
    "„{file}“ ist kein Foto, das gelesen werden kann. Wähle eine Datei in JPEG, PNG, WebP, AVIF, HEIC, GIF, BMP oder TIFF.",
  error_too_large: "„{file}“ ist zu groß. Wähle eine kleinere Fassung.",
  error_gone: "„{file}“ ist nicht mehr in der Galerie. Beginne eine neue Suche.",
  error_empty: "Es gibt noch keine Fotos, die durchsucht werden können.",
  error_not_ready: "Die Galerie ist nicht bereit: {detail}. Versuche es gleich noch einmal.",
  error_key_query: "Zum Suchen wird ein Schlüssel gebraucht.",
  error_key_indexer: "Zum Hinzufügen, Bearbeiten und Löschen wird ein Schlüssel gebraucht.",
  error_key_wrong: "Dieser Schlüssel gilt hier nicht. Prüfe ihn und gib ihn noch einmal ein.",
  error_no_encoder_query:
    "Diese Galerie kommt aus einem anderen Programm und kann nicht mit einem Foto durchsucht werden. Öffne eines ihrer Fotos und suche nach ähnlichen.",
  error_no_encoder_indexer:
    "Diese Galerie kommt aus einem anderen Programm, deshalb können keine Fotos hinzugefügt werden. Lege zuerst eine Sammlung mit einem Modell an (aff gallery build).",
  error_no_indexer:
    "Hinzufügen, Bearbeiten und Löschen sind hier nicht möglich, weil für diese Seite kein Indexer eingerichtet ist. Setze auf dem Server AFF_QUERY_PAGE_INDEXER_URL oder benutze den Befehl aff.",
  error_unsupported_here:
    "Dieser Browser kann „{file}“ nicht lesen. Schalte „Auf diesem Gerät suchen“ aus oder wähle ein anderes Foto.",
  error_other: "Das hat nicht geklappt: {detail}",
  key_query: "Schlüssel zum Suchen",
  key_indexer: "Schlüssel zum Hinzufügen und Löschen",
  use_key: "Schlüssel benutzen",
};

export const TEXTS = { en: EN, de: DE };

/** The first of the browser's languages that the texts are there for. */
export const language =
  (navigator.languages ?? [navigator.language]).map((one) => one.split("-")[0]).find((one) => TEXTS[one]) ?? "en";

const texts = TEXTS[language];
const locale = (navigator.languages ?? []).find((one) => one.startsWith(language)) ?? language; // with its country
const plurals = new Intl.PluralRules(language);
const numbers = new Intl.NumberFormat(locale);
const percents = new Intl.NumberFormat(locale, { style: "percent" });
const sizes = new Intl.NumberFormat(locale, { style: "unit", unit: "megabyte", maximumFractionDigits: 1 });
const dates = new Intl.DateTimeFormat(locale, { dateStyle: "medium", timeStyle: "short" });
const days = new Intl.DateTimeFormat(locale, { dateStyle: "long" });
const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto" });

/** A text with its values. */
export function t(key, values = {}) {
  if (key === "number") return numbers.format(values.n);
  if (key === "megabytes") return sizes.format(values.n);
  const text = texts[key];
  const form = typeof text === "object" ? (text[plurals.select(values.n)] ?? text.other) : text;
  return form.replace(/\{(\w+)\}/g, (_, name) => {
    if (name === "percent") return percents.format(Math.max(0, values.n));
    return typeof values[name] === "number" ? numbers.format(values[name]) : values[name];
  });
}

/** A payload key in words; `chip` for the chip of its values. */
export function keyName(key, { chip = false } = {}) {
  if (chip && texts[`chip_${key}`]) return texts[`chip_${key}`];
  if (texts[`key_${key}`]) return texts[`key_${key}`];
  const words = key.replace(/["_]+/g, " ").trim();
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** A moment; with `offset`, the time of day is that of the place where it was recorded. */
export function dateTimeOf(moment, { offset = false } = {}) {
  const parsed = new Date(offset ? moment.replace(/(Z|[+-]\d\d:?\d\d)$/, "") : moment);
  return Number.isNaN(parsed.getTime()) ? moment : dates.format(parsed);
}

/** The day of a moment: today, yesterday, or its date. */
export function dayOf(moment) {
  const day = new Date(moment),
    midnight = (one) => new Date(one.getFullYear(), one.getMonth(), one.getDate());
  const ago = Math.max(0, Math.round((midnight(new Date()) - midnight(day)) / 86_400_000)); // clocks may differ
  return ago <= 1 ? relative.format(-ago, "day") : days.format(day);
}
