'use strict';
// News replace the parts of the page; without this script it is what it was when it was loaded.
(() => {
  const live = document.getElementById('live');
  const held = new Map();
  let news;
  const say = (words) => { if (live.textContent !== words) live.textContent = words; };
  // What somebody has selected, or reads with the keyboard, stays until they let it go.
  const isInUse = (part) => {
    const chosen = getSelection();
    return (!chosen.isCollapsed && part.contains(chosen.anchorNode)) ||
      (part !== document.activeElement && part.contains(document.activeElement));
  };
  const put = (id, text) => {
    const part = document.getElementById(id);
    if (!part) return;
    if (isInUse(part)) { held.set(id, text); return; }
    held.delete(id);
    part.innerHTML = text;
  };
  const follow = () => {
    if (document.hidden || (news && news.readyState !== EventSource.CLOSED)) return;
    news = new EventSource('events');
    news.addEventListener('version', (event) => {
      if (event.data !== document.documentElement.dataset.version) location.reload();
    });
    news.addEventListener('parts', (event) => {
      for (const [id, text] of [...held, ...Object.entries(JSON.parse(event.data))]) put(id, text);
      say('This page is live: what changes shows within two seconds.');
    });
    news.onerror = () => {
      say('No news since ' + new Date().toISOString().slice(11, 19) + ' UTC: truepeer does not answer, or as many pages are open as there may be. Trying again.');
      // Refused by an answer: the browser does not try again by itself.
      if (news.readyState === EventSource.CLOSED) setTimeout(follow, 10000);
    };
  };
  // A page that nobody sees asks for nothing.
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) news.close(); else follow();
  });
  follow();
})();
