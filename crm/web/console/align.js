// Makes one tree of elements like another by changing only what differs, so that whoever reads, selects or tabs loses
// nothing. Elements with an id are followed wherever they go among their siblings.

export function align(old, fresh) {
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  alignChildren(old, fresh);
  if (old.nodeName === 'SELECT' && old !== document.activeElement) choose(old);
}

export function alignChildren(old, fresh) {
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

// What the server says is chosen: once somebody has chosen, the attributes alone no longer do that.
export function choose(select) {
  for (const option of select.options) option.selected = option.defaultSelected;
}

const alike = (one, other) => one.nodeType === other.nodeType && one.nodeName === other.nodeName && one.id === other.id;
