// The service worker: receives a photograph that another app shares with the page. It caches nothing.

import { keepPhotograph } from "./store.js";

const SHARE = new URL("share", self.registration.scope).pathname;

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));
self.addEventListener("fetch", (event) => {
  const shared = event.request.method === "POST" && new URL(event.request.url).pathname === SHARE;
  if (shared) event.respondWith(receive(event.request));
});

async function receive(request) {
  const file = (await request.formData()).get("photograph"),
    key = Date.now();
  const kept = file instanceof File && (await keepPhotograph(key, file));
  return Response.redirect(new URL(kept ? `./?shared=${key}` : "./", self.registration.scope), 303);
}
