const VARIABLES = 'graphiql:variables'; // the user's own JSON, kept to the letter

/**
 * Where GraphiQL keeps its tabs and its history: this browser tab only, and never with headers, which hold tokens
 * (its history keeps them even when `shouldPersistHeaders` is false).
 */
export const session = {
  getItem: key => sessionStorage.getItem(key),
  setItem: (key, value) => sessionStorage.setItem(key, key === VARIABLES ? value : withoutHeaders(value)),
  removeItem: key => sessionStorage.removeItem(key),
  clear: () => sessionStorage.clear(),
  get length() {
    return sessionStorage.length;
  },
};

function withoutHeaders(text) {
  try {
    return JSON.stringify(JSON.parse(text), (key, value) => (key === 'headers' ? null : value));
  } catch {
    return text; // not JSON: a query, a theme, a width
  }
}
