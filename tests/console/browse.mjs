// node browse.mjs SCENE http://127.0.0.1:8000 [picture.png] [light|dark]
// Uses the page as a person does, with Debian's chromium (CHROMIUM names another browser). Prints what it saw as JSON;
// fails on a console error, on a request to another host, and when something does not appear.

import { chromium } from 'playwright-core';

const [scene, server, picture, colorScheme = 'light'] = process.argv.slice(2);
const ours = new URL(server).host;
const faults = [];

async function call(method, path, body) {
  const headers = { 'content-type': 'application/json' };
  if (process.env.CRM_TOKEN) headers.authorization = `Bearer ${process.env.CRM_TOKEN}`;
  const answer = await fetch(server + path, { method, headers, body: body && JSON.stringify(body) });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

const create = body => call('POST', '/api/ai/tasks', { taskType: 'echo', ...body });

const scenes = {
  // Everything by the keyboard; the page is never reloaded.
  async local(page) {
    await page.goto(`${server}/console/ai-tasks`);
    await page.getByText('Live', { exact: true }).waitFor();
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
    await page.locator('#recent').locator(`#task-${id}`).waitFor();
    const notice = await page.locator('#notice').innerText();
    const focus = await page.evaluate(() => document.activeElement.closest('section')?.id);
    const failing = await create({ input: { failures: 1 }, maxRetries: 0 });
    const failed = page.locator('#failed').locator(`#task-${failing.id}`);
    const error = await failed.locator('.error').innerText();
    await failed.getByRole('button', { name: /Retry/ }).focus();
    await page.keyboard.press('Space');
    await page.locator('#recent').locator(`#task-${failing.id}`).waitFor();
    return { empty, text, progress, kept, notice, focus, error };
  },

  // With a token: nothing without, a wrong one, the right one, and nothing left of it after a reload.
  async token(page) {
    await page.goto(`${server}/console/ai-tasks`);
    const before = await page.locator('#board').innerText();
    const submit = async text => {
      await page.getByLabel('Token').fill(text);
      await page.keyboard.press('Enter');
    };
    await submit('two words');
    const malformed = await page.locator('#token-error').innerText();
    await submit('nonsense');
    await page.locator('#token-error').getByText('wrong or has expired').waitFor();
    await submit(process.env.CRM_TOKEN);
    await page.getByText('Live', { exact: true }).waitFor();
    const { id } = await create({ input: { message: 'Hej' } });
    await page.locator('#recent').locator(`#task-${id}`).waitFor();
    const stored = await page.evaluate(() => JSON.stringify([localStorage, sessionStorage, document.cookie, location.href]));
    await page.reload();
    await page.getByLabel('Token').waitFor();
    const after = await page.locator('#board').innerText();
    await submit(process.env.CRM_TOKEN);
    await page.getByText('Live', { exact: true }).waitFor();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByLabel('Token').waitFor();
    return { before, malformed, stored, after, left: await page.locator('#board').innerText() };
  },

  // A picture of a busy board.
  async picture(page) {
    await page.goto(`${server}/console/ai-tasks`);
    await page.getByText('Live', { exact: true }).waitFor();
    await page.waitForTimeout(9000); // until some have ended
    await page.screenshot({ path: picture, fullPage: true });
    return {};
  },
};

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu'],
});
try {
  const page = await browser.newPage({ viewport: { width: 1240, height: 1000 }, colorScheme });
  page.setDefaultTimeout(15_000);
  const check = address => {
    const { protocol, host } = new URL(address);
    if (host !== ours && !['data:', 'blob:'].includes(protocol)) faults.push(`request to ${address}`);
  };
  page.on('request', request => check(request.url()));
  page.on('websocket', socket => check(socket.url()));
  // A wrong token is refused with 401, which the browser writes to its console.
  page.on('console', message => {
    if (message.type() === 'error' && !message.text().includes('401')) faults.push(message.text());
  });
  page.on('pageerror', error => faults.push(error.message));
  console.log(JSON.stringify(await scenes[scene](page)));
} finally {
  await browser.close();
}
if (faults.length) {
  console.error(faults.join('\n'));
  process.exit(1);
}
