// The board is the server's HTML. The WebSocket says when it is out of date, and how far the running tasks are; the
// page then asks for the board again and changes only what differs (align.js).

import { alignChildren, choose } from './align.js';

const BOARD = '/console/ai-tasks/board';
const PAUSE = 400; // between two looks at the board, however much happens,
const SHARE = 4; // or so many times what a look takes, if that is more: a long queue is read as often as it can bear
const QUIET = 5000; // without news: look all the same
const RETRY = [500, 1000, 2000, 5000, 10000];
const PATIENCE = 15000; // with a server that does not answer
const SURE = 5000; // how long a second click means "really"
const TWICE = 250; // what comes sooner is a double click, and nobody read the question

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
let next = QUIET; // how long after this look comes another
let pause = PAUSE;

class SignedOut extends Error {}

const headers = () => (token === null ? {} : { authorization: `Bearer ${token}` });
const ask = (path, options) => fetch(path, { cache: 'no-store', signal: AbortSignal.timeout(PATIENCE), ...options });

// ---- The board

async function load() {
  const who = token;
  const answer = await ask(`${BOARD}?${wanted()}`, { headers: headers() });
  const text = await answer.text();
  if (answer.status === 401) throw new SignedOut(text);
  if (!answer.headers.get('content-type')?.startsWith('text/html')) throw new Error(`HTTP ${answer.status}: ${text}`);
  if (who !== token) return; // signed out meanwhile: it is not for whoever looks now
  const fresh = new DOMParser().parseFromString(text, 'text/html').body;
  dress(fresh);
  keepFocus(() => alignChildren(board, fresh));
}

// As many rows as the address says, and what is folded out; at first, that too is what the address says.
function wanted() {
  const asked = new URLSearchParams(location.search);
  if (board.firstElementChild) asked.delete('open');
  for (const open of board.querySelectorAll('details[open]')) asked.append('open', open.id.replace('details-', ''));
  return asked;
}

// What moves loses the focus, and gets it back; when it is gone, what was around it does.
function keepFocus(change) {
  const focused = document.activeElement;
  const summary = focused?.closest('details')?.querySelector('summary');
  const heading = focused?.closest('section')?.querySelector('h2');
  change();
  if (focused === document.activeElement) return;
  [focused, summary, heading, board].find(one => one?.isConnected).focus({ preventScroll: true });
}

// What the server cannot know: the reader's clock and address, what is folded out, and which buttons were pressed.
function dress(root) {
  for (const time of root.querySelectorAll('time')) {
    const local = MOMENT.format(new Date(time.dateTime));
    time.title = 'at' in time.dataset ? time.textContent : local;
    if ('at' in time.dataset) time.textContent = local;
  }
  for (const origin of root.querySelectorAll('[data-origin]')) origin.textContent = location.origin;
  for (const details of root.querySelectorAll('details')) {
    const shown = byId(details.id);
    if (shown) details.open = shown.open;
  }
  markButtons(root);
}

const MOMENT = new Intl.DateTimeFormat(undefined, {
  year: 'numeric', month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', timeZoneName: 'short',
});

function refresh(after = pause) {
  if (!form.hidden) return;
  if (loading) {
    next = Math.min(next, after);
    return;
  }
  const when = performance.now() + after;
  if (due && due <= when) return;
  due = when;
  clearTimeout(refresh.timer);
  refresh.timer = setTimeout(look, after);
}

async function look() {
  due = 0;
  loading = true;
  next = QUIET;
  const began = performance.now();
  try {
    await load();
    pause = Math.max(PAUSE, SHARE * (performance.now() - began));
    reached(true);
  } catch (error) {
    if (error instanceof SignedOut) {
      signOut(error.message);
      return;
    }
    reached(false);
  } finally {
    loading = false;
  }
  refresh(next);
}

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
  mine.addEventListener('close', ({ code }) => {
    if (mine !== socket) return;
    if (code === 4401) {
      signOut('Your token has expired, or means less than before: sign in again.');
      return;
    }
    subscribed(false);
    reconnecting = setTimeout(connect, RETRY[Math.min(failures++, RETRY.length - 1)]);
  });
}

function hear(message) {
  if (message.type === 'subscribed') {
    failures = 0;
    subscribed(true);
    refresh(0);
  } else if (message.type === 'task.updated') {
    const { id, status, progress } = message.task;
    const task = byId(`task-${id}`);
    if (task?.dataset.status === 'RUNNING' && status === 'RUNNING') tell(task, progress);
    else refresh();
  } else if (message.type === 'queue.status') {
    refresh();
  } else if (message.type === 'error') {
    say(message.message, true);
  }
}

function tell(task, progress) {
  const percent = Math.round(progress * 100);
  const bar = task.querySelector('progress');
  const words = task.querySelector('.percent');
  if (bar) bar.value = percent;
  if (words) words.textContent = `${percent}%`;
}

// Two things have to work: the socket, and the looks at the board. "Live" is when both do.
const line = { isOpen: false, answers: true, seen: null };

function subscribed(isOpen) {
  line.isOpen = isOpen;
  showLine();
}

function reached(answers) {
  line.answers = answers;
  if (answers) line.seen = new Date();
  showLine();
}

function showLine() {
  const since = line.seen ? `; this is how it was at ${line.seen.toLocaleTimeString()}` : '';
  if (!form.hidden) show('off', 'Not connected');
  else if (!line.answers) show('lost', `The server cannot be reached${since}`);
  else if (line.isOpen) show('on', 'Live');
  else show('waiting', 'Connecting…');
}

function show(state, words) {
  byId('live').dataset.live = state;
  const text = byId('live-text');
  if (text.textContent !== words) text.textContent = words;
}

// ---- What a person does

const busy = new Set(); // tasks that the server was asked to change
let armed = null; // the one whose Cancel was pressed once, and when

board.addEventListener('click', event => {
  const button = event.target.closest('button[data-act]');
  if (button) press(button);
  const link = event.target.closest('a[data-look]');
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  history.replaceState(null, '', link.href);
  refresh(0);
});

board.addEventListener('toggle', ({ target }) => {
  if (target.open && !('whole' in target.dataset)) refresh(0);
}, true);

board.addEventListener('change', ({ target }) => {
  if (target.matches('select[data-task]')) prioritise(target);
});

function press(button) {
  const { act, task, name } = button.dataset;
  if (busy.has(task)) return;
  if (act === 'cancel' && armed?.task !== task) arm(task, name);
  else if (act === 'retry' || performance.now() - armed.when > TWICE) {
    disarm();
    change(task, act === 'cancel' ? `Cancelled: ${name}.` : `Waiting again: ${name}.`, () =>
      ask(`/api/ai/tasks/${encodeURIComponent(task)}/${act}`, {
        method: act === 'cancel' ? 'PUT' : 'POST',
        headers: headers(),
      }));
  }
}

function arm(task, name) {
  armed = { task, when: performance.now() };
  byId('hint').textContent = `Press again to cancel ${name}.`;
  clearTimeout(arm.timer);
  arm.timer = setTimeout(disarm, SURE);
  markButtons(board);
}

function disarm() {
  armed = null;
  byId('hint').textContent = '';
  clearTimeout(arm.timer);
  markButtons(board);
}

function markButtons(root) {
  for (const button of root.querySelectorAll('button[data-act]')) {
    const { act, task } = button.dataset;
    const isSure = act === 'cancel' && task === armed?.task;
    button.classList.toggle('sure', isSure);
    button.firstElementChild.textContent = isSure ? 'Really cancel?' : act === 'cancel' ? 'Cancel' : 'Retry';
    // Not `disabled`, which would take the focus away.
    if (busy.has(task)) button.setAttribute('aria-disabled', 'true');
    else button.removeAttribute('aria-disabled');
  }
}

const PRIORITISE = `mutation ($id: ID!, $priority: AiTaskPriority!) {
  updateAiTaskPriority(id: $id, priority: $priority) { priority }
}`;

async function prioritise(select) {
  const variables = { id: select.dataset.task, priority: select.value };
  const words = `Now ${select.selectedOptions[0].textContent.toLowerCase()}: ${select.dataset.name}.`;
  const worked = await change(variables.id, words, () =>
    ask('/graphql', {
      method: 'POST',
      headers: { ...headers(), 'content-type': 'application/json' },
      body: JSON.stringify({ query: PRIORITISE, variables }),
    }));
  if (!worked) choose(select);
}

const UNREACHABLE = 'The server cannot be reached: nothing was done, as far as this page knows.';
const UNSURE = 'The server did not answer as it should: look whether it was done.';

// Have the server change a task, and say what came of it.
async function change(task, words, request) {
  busy.add(task);
  markButtons(board);
  try {
    const answer = await request();
    const wrong = faultIn(answer, await answer.json());
    if (answer.status === 401) signOut(wrong);
    else say(wrong ?? words, wrong !== null);
    return wrong === null;
  } catch (error) {
    say(error instanceof TypeError ? UNREACHABLE : UNSURE, true);
    return false;
  } finally {
    busy.delete(task);
    markButtons(board);
    refresh(0);
  }
}

// What is wrong, in the words of REST (a problem document) or of GraphQL; null if nothing is.
function faultIn(answer, found) {
  if (answer.ok && !found.errors) return null;
  return found.detail ?? found.errors?.[0].message ?? `HTTP ${answer.status}`;
}

function say(words, isError = false) {
  notice.classList.toggle('error', isError);
  notice.textContent = words;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => (notice.textContent = ''), isError ? 20000 : 8000);
}

// ---- Who looks

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
  board.focus({ preventScroll: true });
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
  reached(true);
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
  armed = null;
  board.replaceChildren();
  byId('sign-out').hidden = true;
  form.hidden = false;
  subscribed(false);
  refuse(words);
  byId('token').focus();
}

if (document.body.dataset.state === 'open') {
  dress(board);
  start();
} else {
  byId('token').focus();
}
