/** Whether the window is a telephone's: page.css has the same number. */
export const NARROW = matchMedia('(max-width: 700px)');
