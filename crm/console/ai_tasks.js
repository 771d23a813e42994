// The board is the server's HTML. The WebSocket says when it is out of date, and how far the running tasks are; the
// page then asks for the board again and changes only what differs, so that whoever reads or tabs loses nothing.

const BOARD = '/console/ai-tasks/board';
const PAUSE = 400; // between two looks at the board, however much happens
const QUIET = 5000; // without news: look all the same
const RETRY = [500, 1000, 2000, 5000, 10000];

const byId = id => document.getElementById(id);
const board = byId('board');
const notice = byId('notice');
const form = byId('sign-in');

let token = null; // here, and nowhere else
let socket = null;
let failures = 0;
let reconnecting = 0;
let due = 0;
let loading = false;
let dirty = false;

// ---- The board

const headers = () => (token === null ? {} : { authorization: `Bearer ${token}` });

async function load() {
  const answer = await fetch(BOARD, { headers: headers(), cache: 'no-store' });
  if (answer.status === 401) throw new SignedOut(await answer.text());
  if (!answer.headers.get('content-type')?.startsWith('text/html')) throw new Error(`HTTP ${answer.status}`);
  const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html');
  const focused = document.activeElement;
  const section = focused?.closest('section');
  align(board, fresh.body);
  // What had the focus is gone with its task: stay where it was.
  if (section && !document.contains(focused)) byId(section.id)?.querySelector('h2')?.focus();
  return answer.ok;
}

class SignedOut extends Error {}

function refresh(pause = PAUSE) {
  if (loading) {
    dirty = true;
    return;
  }
  const when = performance.now() + pause;
  if (due && due <= when) return;
  due = when;
  clearTimeout(refresh.timer);
  refresh.timer = setTimeout(look, pause);
}

async function look() {
  due = 0;
  loading = true;
  dirty = false;
  try {
    await load();
  } catch (error) {
    if (error instanceof SignedOut) {
      signOut(error.message);
      return;
    }
    say('The server cannot be reached; what you see may be old.', true);
  } finally {
    loading = false;
  }
  refresh(dirty ? PAUSE : QUIET);
}

// ---- Change only what differs: elements with an id are followed wherever they go

function align(old, fresh) {
  for (const { name } of [...old.attributes]) {
    if (old !== board && !fresh.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  let place = old.firstChild;
  for (const node of [...fresh.childNodes]) {
    const same = node.id ? old.querySelector(`:scope > #${CSS.escape(node.id)}`) : place;
    if (same && alike(same, node)) {
      if (same === place) place = place.nextSibling;
      else old.insertBefore(same, place);
      if (same.nodeType === Node.ELEMENT_NODE) align(same, node);
      else if (same.data !== node.data) same.data = node.data;
    } else {
      old.insertBefore(document.importNode(node, true), place);
    }
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

const alike = (one, other) => one.nodeType === other.nodeType && one.nodeName === other.nodeName && one.id === other.id;

// ---- Live

function connect() {
  clearTimeout(reconnecting);
  const url = new URL('/ws/ai-tasks', location.href);
  url.protocol = url.protocol.replace('http', 'ws');
  const protocols = ['crm.ai-tasks'];
  if (token !== null) protocols.push(`bearer.${token}`);
  const mine = (socket = new WebSocket(url, protocols));
  mine.addEventListener('open', () => {
    for (const channel of ['all', 'queue']) mine.send(JSON.stringify({ type: 'subscribe', channel }));
  });
  mine.addEventListener('message', ({ data }) => hear(JSON.parse(data)));
  mine.addEventListener('close', ({ code, reason }) => {
    if (mine !== socket) return;
    if (code === 4401) {
      signOut(reason || 'Sign in again.');
      return;
    }
    show('waiting', 'Connecting again…');
    reconnecting = setTimeout(connect, RETRY[Math.min(failures++, RETRY.length - 1)]);
  });
}

function hear(message) {
  if (message.type === 'subscribed') {
    failures = 0;
    show('on', 'Live');
    refresh(0);
  } else if (message.type === 'task.updated') {
    const { id, status, progress } = message.task;
    const row = byId(`task-${id}`);
    if (row?.dataset.status === 'RUNNING' && status === 'RUNNING') tell(row, progress);
    else refresh();
  } else if (message.type === 'queue.status') {
    refresh();
  } else if (message.type === 'error') {
    say(message.message, true);
  }
}

function tell(row, progress) {
  const percent = Math.round(progress * 100);
  const bar = row.querySelector('progress');
  const words = row.querySelector('output');
  if (bar) bar.value = percent;
  if (words) words.textContent = `${percent}%`;
}

function show(state, words) {
  byId('live').dataset.live = state;
  const text = byId('live-text');
  if (text.textContent !== words) text.textContent = words;
}

// ---- What a person does

board.addEventListener('click', async event => {
  const button = event.target.closest('button[data-act]');
  if (!button || button.getAttribute('aria-disabled') === 'true') return;
  const { act, task, name } = button.dataset;
  button.setAttribute('aria-disabled', 'true'); // not `disabled`, which would take the focus away
  try {
    const answer = await fetch(`/api/ai/tasks/${encodeURIComponent(task)}/${act}`, {
      method: act === 'cancel' ? 'PUT' : 'POST',
      headers: headers(),
    });
    const found = await answer.json();
    if (answer.status === 401) signOut(found.detail);
    else if (!answer.ok) say(found.detail, true);
    else say(act === 'cancel' ? `Cancelled: ${name}.` : `Waiting again: ${name}.`);
  } catch {
    say('The server cannot be reached; nothing was changed, as far as this page knows.', true);
  } finally {
    button.removeAttribute('aria-disabled');
    refresh(0);
  }
});

function say(words, isError = false) {
  notice.classList.toggle('error', isError);
  notice.textContent = words;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => (notice.textContent = ''), 8000);
}

form.addEventListener('submit', async event => {
  event.preventDefault();
  const field = byId('token');
  token = field.value.trim().replace(/^Bearer\s+/i, '');
  if (!/^[\w.~+/=-]+$/.test(token)) {
    refuse('This is not a token: copy it whole, without spaces.');
    return;
  }
  try {
    await load();
  } catch (error) {
    refuse(error instanceof SignedOut ? error.message : 'The server cannot be reached.');
    return;
  }
  field.value = '';
  refuse('');
  start();
  board.focus();
});

function refuse(words) {
  byId('token-error').textContent = words;
  if (!words) return;
  token = null;
  byId('token').focus();
}

byId('sign-out').addEventListener('click', () => signOut(''));

function start() {
  form.hidden = true;
  byId('sign-out').hidden = token === null;
  show('waiting', 'Connecting…');
  connect();
  refresh(QUIET);
}

function signOut(words) {
  const open = socket;
  token = socket = null;
  open?.close();
  clearTimeout(refresh.timer);
  clearTimeout(reconnecting);
  due = 0;
  board.replaceChildren();
  byId('sign-out').hidden = true;
  form.hidden = false;
  show('off', 'Not connected');
  refuse(words);
  byId('token').focus();
}

if (document.body.dataset.state === 'open') start();
else byId('token').focus();
