// The page /console/ai-tasks, scene by scene: see ../browser/play.mjs.

import { into, play, server, token } from '../browser/play.mjs';

const board = () => `${server}/console/ai-tasks`;

async function call(method, path, body) {
  const headers = { 'content-type': 'application/json' };
  if (token) headers.authorization = `Bearer ${token}`;
  const answer = await fetch(server + path, { method, headers, body: body && JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

const create = body => call('POST', '/api/ai/tasks', { taskType: 'echo', ...body });
const createMany = (count, body) =>
  call('POST', '/api/ai/tasks/batch', { inputs: Array.from({ length: count }, () => ({ taskType: 'echo', ...body })) });
const stateOf = async ({ id }) => (await call('GET', `/api/ai/tasks/${id}`)).status;
const later = hours => new Date(Date.now() + hours * 3_600_000).toISOString();

// With all that other scenes have left, so that what this one makes is in sight.
async function visit(page, query = '?later=200') {
  await page.goto(board() + query);
  await page.getByText('Live', { exact: true }).waitFor();
}

const scenes = {
  // Everything by the keyboard; the page is never reloaded.
  async local(page) {
    await visit(page);
    const empty = await page.locator('#running').innerText();
    const { id } = await create({ input: { message: 'Hej', seconds: 60 }, timeoutSeconds: 300, agentId: '<b>&"x"' });
    const row = page.locator(`#task-${id}`);
    await row.locator('progress').waitFor();
    const text = await row.innerText();
    const shown = () => row.locator('progress').evaluate(bar => bar.value);
    await page.waitForFunction(key => document.querySelector(`#task-${key} progress`)?.value > 1, id);
    const progress = await shown();
    const button = row.getByRole('button', { name: /Cancel/ });
    await button.focus();
    await page.waitForTimeout(1500); // the board is drawn anew below the focus
    const kept = await button.evaluate(node => node === document.activeElement);
    await page.keyboard.press('Enter');
    await row.getByRole('button', { name: /Really cancel\?/ }).waitFor();
    await page.waitForTimeout(300);
    await page.keyboard.press('Enter');
    await page.locator('#recent').locator(`#task-${id}`).waitFor();
    const notice = await page.locator('#notice').innerText();
    const focus = await page.evaluate(() => document.activeElement.closest('section')?.id);
    await page.locator('#recent').locator(`#task-${id}`).getByRole('button', { name: /Retry/ }).waitFor();
    const failing = await create({ input: { failures: 1 }, maxRetries: 0 });
    const failed = page.locator('#failed').locator(`#task-${failing.id}`);
    const error = await failed.locator('.error').first().innerText();
    await failed.getByRole('button', { name: /Retry/ }).focus();
    await page.keyboard.press('Space');
    await page.locator('#recent').locator(`#task-${failing.id}`).waitFor();
    return { empty, text, progress, kept, notice, focus, error };
  },

  // A second click cancels: not one, not two at once, and not one that comes late.
  async sure(page) {
    await visit(page);
    const task = await create({ scheduledFor: later(1) });
    const button = page.locator(`#task-${task.id} button`);
    await button.click();
    await page.waitForTimeout(1500); // the board is drawn anew meanwhile
    const asked = await button.innerText();
    await page.waitForFunction(key => document.querySelector(`#task-${key} button`).innerText.startsWith('Cancel'), task.id);
    await button.dblclick();
    await page.waitForTimeout(500);
    const untouched = await stateOf(task);
    await button.click();
    await page.locator('#recent').locator(`#task-${task.id}`).waitFor();
    return { asked, untouched, cancelled: await stateOf(task) };
  },

  // The server cannot be reached, and then it can.
  async away(page) {
    const task = await create({ scheduledFor: later(1) });
    await visit(page);
    const button = page.locator(`#task-${task.id} button`);
    const state = () => page.locator('#live-text').innerText();
    await page.context().setOffline(true);
    await button.click();
    await page.waitForTimeout(300);
    await button.click();
    const notice = await page.locator('#notice:not(:empty)').innerText();
    await page.locator('[data-live=lost]').waitFor();
    const away = await state();
    const still = await button.innerText();
    await page.context().setOffline(false);
    await page.locator('[data-live=on]').waitFor();
    const [untouched, back] = [await stateOf(task), await state()];
    await page.route('**/board*', route => route.abort()); // so that the button stays, and what it does comes too late
    await button.click();
    await page.waitForTimeout(300);
    await call('PUT', `/api/ai/tasks/${task.id}/cancel`);
    await button.click();
    await page.locator('#notice.error').getByText(/cannot be cancelled/).waitFor();
    return { notice, away, still, untouched, back };
  },

  // Rows: what tells them apart, and what folds out and stays so, in the reader's own time zone.
  async rows(page) {
    const message = '<img src=x onerror=alert(1)>';
    const task = await create({ scheduledFor: '2027-01-04T06:00:00Z', input: { message } });
    await visit(page);
    const row = page.locator(`#task-${task.id}`);
    const name = await row.getByRole('button').innerText();
    const due = await row.locator('td time').first().innerText();
    await row.locator('summary').click();
    await row.locator('pre').waitFor();
    const { id: other } = await create({ scheduledFor: later(1) });
    await page.locator(`#task-${other}`).waitFor();
    await page.waitForTimeout(1000);
    const details = await row.locator('details').innerText();
    await call('PUT', `/api/ai/tasks/${task.id}/cancel`);
    await page.locator('#recent').locator(`#task-${task.id}`).waitFor();
    const open = await page.locator(`#task-${task.id} details`).evaluate(node => node.open);
    return { name, due, details, open };
  },

  // Longer tables without a reload, and a place in the line that is changed.
  async more(page) {
    const tasks = await createMany(25, { scheduledFor: later(0.5), priority: 'LOW' });
    await visit(page, '');
    const rows = page.locator('#later tbody');
    const before = [await rows.count(), await page.locator('#later .head').innerText()];
    const link = page.locator('#later').getByRole('link', { name: /Show more/ });
    await link.focus();
    await page.keyboard.press('Enter');
    await page.waitForFunction(() => document.querySelectorAll('#later tbody').length >= 25);
    const { id } = await create({ scheduledFor: later(0.6) });
    await page.locator(`#later #task-${id}`).waitFor();
    const select = page.locator(`#task-${tasks[0].id} select`);
    await select.focus();
    await select.selectOption('HIGH');
    await page.locator('#notice:not(:empty)').waitFor();
    const { priority } = await call('GET', `/api/ai/tasks/${tasks[0].id}`);
    await page.waitForTimeout(1000);
    const focused = await select.evaluate(node => node === document.activeElement && node.value);
    return { before, address: page.url(), priority, notice: await page.locator('#notice').innerText(), focused };
  },

  // A telephone.
  async narrow(page) {
    await createMany(2, { scheduledFor: later(1), agentId: 'an agent with a name that is long enough to need a second line' });
    await create({ input: { failures: 1 }, maxRetries: 0, agentId: 'x'.repeat(90) });
    await visit(page);
    await page.locator('#failed tbody').first().waitFor();
    for (const summary of await page.locator('summary').all()) await summary.click();
    await page.locator('pre').first().waitFor();
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    const places = await page.locator('td button').evaluateAll(all => all.map(one => one.getBoundingClientRect().toJSON()));
    const labels = await page.locator('#later td[data-label]').evaluateAll(all =>
      all.slice(0, 2).map(one => getComputedStyle(one, '::before').content));
    return { wide, places, labels };
  },

  // Without scripts: what folds out does, and links lead to what is not there yet.
  async scriptless(page) {
    const [{ id }] = await createMany(21, { scheduledFor: later(0.1), input: { message: 'Hej Åsa' } });
    await page.goto(board());
    const row = page.locator(`#task-${id}`);
    await row.locator('summary').click();
    await row.getByText(id).waitFor();
    await row.getByRole('link', { name: /Input/ }).click();
    await row.getByText('Hej Åsa').waitFor();
    await page.getByRole('link', { name: 'Show more of: Later' }).click();
    await page.locator('#later tbody').nth(20).waitFor();
    const open = await row.getByText('Hej Åsa').isVisible();
    const buttons = await page.locator('button:visible, select:visible').count();
    return { open, buttons, priority: await row.locator('.badge').first().innerText() };
  },

  // With a token: nothing without, a wrong one, the right one, and nothing left of it after a reload.
  async token(page) {
    const { id: opened } = await create({ scheduledFor: later(1), input: { message: 'Hej Åsa' } });
    await page.goto(`${board()}?later=200&open=${opened}`);
    const before = await page.locator('#board').innerText();
    const submit = async text => {
      await page.getByLabel('Token').fill(text);
      await page.keyboard.press('Enter');
    };
    await submit('two words');
    const malformed = await page.locator('#token-error').innerText();
    await submit('nonsense');
    await page.locator('#token-error').getByText('wrong or has expired').waitFor();
    await submit(token);
    await page.getByText('Live', { exact: true }).waitFor();
    const scrolled = await page.evaluate(() => scrollY);
    await page.locator(`#task-${opened}`).getByText('Hej Åsa').waitFor();
    const who = await page.locator('#who').innerText();
    const command = await page.locator('#waiting code').innerText();
    const { id } = await create({ input: { message: 'Hej' } });
    await page.locator('#recent').locator(`#task-${id}`).waitFor();
    const stored = await page.evaluate(() => JSON.stringify([localStorage, sessionStorage, document.cookie, location.href]));
    await page.reload();
    await page.getByLabel('Token').waitFor();
    const after = await page.locator('#board').innerText();
    await submit(token);
    await page.getByText('Live', { exact: true }).waitFor();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByLabel('Token').waitFor();
    await page.waitForTimeout(1000); // whatever was on its way has come
    const left = await page.locator('#board').innerText();
    return { before, malformed, scrolled, who, command, stored, after, left, said: await page.locator('#token-error').innerText() };
  },

  // A picture of a busy board, and of one task whole.
  async picture(page) {
    await visit(page, '');
    await page.locator('#failed summary').first().click();
    await page.locator('#failed .attempts').waitFor();
    await page.waitForTimeout(1000);
    await page.screenshot({ path: into, fullPage: true });
    return {};
  },
};

await play(scenes, {
  viewport: { width: 1240, height: 1000 },
  timeout: 15_000,
  settings: {
    rows: { timezoneId: 'Asia/Tokyo', locale: 'en-GB' },
    narrow: { viewport: { width: 390, height: 844 } },
    scriptless: { javaScriptEnabled: false },
  },
  // What a browser writes to its console by itself; what comes too late is refused with 409.
  expected: { away: ['ERR_INTERNET_DISCONNECTED', 'ERR_FAILED', '409'] },
});
