// The page /graphql, scene by scene: see ../browser/play.mjs. `pictures` fills a folder.

import { colorScheme, into, play, server, token } from '../browser/play.mjs';

const WIDE = { width: 1280, height: 800 };
const NARROW = { width: 390, height: 844 };

async function call(query, variables) {
  const headers = { 'content-type': 'application/json', ...(token && { authorization: `Bearer ${token}` }) };
  const answer = await fetch(`${server}/graphql`, { method: 'POST', headers, body: JSON.stringify({ query, variables }) });
  const { data, errors } = await answer.json();
  if (errors) throw new Error(JSON.stringify(errors));
  return data;
}

// Each makes one message of "Live".
const createLeads = (...names) =>
  call('mutation ($inputs: [CreateLeadInput!]!) { createLeads(inputs: $inputs) { status } }', {
    inputs: names.map(lastName => ({ firstName: 'Åsa', lastName })),
  });

async function visit(page, size) {
  await page.setViewportSize(size);
  await page.goto(`${server}/graphql`);
  await page.locator('.graphiql-query-editor .view-line').nth(3).waitFor();
}

async function signIn(page) {
  if (!token) return;
  await page.getByLabel('Token').fill(token);
  await page.keyboard.press('Enter');
  await page.getByText('Signed in as').waitFor();
}

const tab = (page, name) => page.locator('.graphiql-tab').getByText(name, { exact: true });
const run = page => page.locator('.graphiql-execute-button').click(); // or stop
// Monaco draws only the lines in sight, and blanks as U+00A0.
const read = async (page, place) => (await page.locator(place).innerText()).replaceAll('\u00a0', ' ');
const answer = page => page.locator('.result-window');

const scenes = {
  // A stranger at the door of `crm serve`: what the page says, a wrong token, the right one, and out again.
  async token(page) {
    await visit(page, WIDE);
    const hint = await read(page, '#token-hint');
    const focused = await page.evaluate(() => document.activeElement.id);
    await run(page);
    await answer(page).getByText('UNAUTHENTICATED').waitFor();
    const signedOut = await read(page, '.result-window');
    await page.getByLabel('Token').fill('two words');
    await page.keyboard.press('Enter');
    const malformed = await read(page, '#token-problem:not(:empty)');
    await page.getByLabel('Token').fill('nonsense');
    await page.keyboard.press('Enter');
    await page.locator('#token-problem').getByText('wrong').waitFor();
    await signIn(page);
    const who = await read(page, 'header.sign-in');
    await run(page);
    await answer(page).getByText('"data"').waitFor();
    const stored = await page.evaluate(() => JSON.stringify([localStorage, sessionStorage, document.cookie, location.href]));
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByLabel('Token').waitFor();
    return { hint, focused, signedOut, malformed, who, stored };
  },

  // The tab "Live": every message is there, the newest first; the oldest go when there are more than a hundred.
  async live(page) {
    await visit(page, WIDE);
    await signIn(page);
    await tab(page, 'Live').click();
    await run(page);
    await answer(page).getByText('"received"').waitFor();
    await page.waitForTimeout(500); // the socket opens
    await createLeads('Ett');
    await createLeads('Två');
    await page.setViewportSize({ width: 1280, height: 3000 }); // all lines of both
    for (const name of ['Ett', 'Två']) await answer(page).getByText(`"Åsa ${name}"`).first().waitFor();
    const both = await read(page, '.result-window');
    await page.setViewportSize(WIDE);
    await createLeads(...Array(110).fill('Tre'));
    await answer(page).getByText('"shown"').waitFor();
    await page.waitForTimeout(500);
    const bounded = await read(page, '.result-window');
    await run(page); // stops it
    await createLeads('Fyra');
    await page.waitForTimeout(500);
    return { both, bounded, stopped: await read(page, '.result-window') };
  },

  // A telephone: the panes are on top of each other, and nothing is out of sight.
  async narrow(page) {
    await visit(page, NARROW);
    await signIn(page);
    await run(page);
    await answer(page).getByText('"data"').waitFor();
    await page.getByRole('button', { name: /Documentation Explorer/ }).click();
    await page.getByText('Root Types').waitFor();
    const boxOf = place => page.locator(place).boundingBox();
    const places = [];
    for (const place of ['.graphiql-plugin', '.graphiql-query-editor', '.graphiql-response', '.graphiql-sidebar']) {
      places.push(await boxOf(place));
    }
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    return { places, wide };
  },

  // Each example's comments fit a window of 1,280 pixels: none goes on in a second line.
  async comments(page) {
    await visit(page, WIDE);
    const wrapped = [];
    for (const name of await page.locator('.graphiql-tab').allInnerTexts()) {
      await tab(page, name.trim()).click();
      await page.waitForTimeout(150);
      const [lines, numbers] = await page.locator('.graphiql-query-editor').evaluate(editor =>
        ['.view-line', '.line-numbers:not(.textAreaCover)'].map(part => editor.querySelectorAll(part).length));
      if (lines !== numbers) wrapped.push(name);
    }
    return { wrapped };
  },

  async pictures(page) {
    for (const [size, name] of [[WIDE, 'wide'], [NARROW, 'narrow']]) {
      const picture = part => page.screenshot({ path: `${into}/${name}-${colorScheme}-${part}.png` });
      await visit(page, size);
      await page.waitForTimeout(1000); // the editor colours its text a little later
      await picture('door');
      await signIn(page);
      await tab(page, 'Leads').click(); // a window that was here before comes back to where it was
      await run(page);
      await answer(page).getByText('"data"').waitFor();
      await page.waitForTimeout(1000);
      await picture('leads');
      await tab(page, 'Live').click();
      await run(page);
      await page.waitForTimeout(1000);
      await createLeads('Ett', 'Två', 'Tre');
      await page.waitForTimeout(1500);
      await picture('live');
    }
    return {};
  },
};

await play(scenes, { viewport: WIDE, timeout: 30_000 });
