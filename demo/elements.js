// Elements of the page; Gradio runs this before viewer.js, or touch.js, in one piece with it.

const make = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) made.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) made.setAttribute(name, value === true ? '' : value);
  }
  made.append(...children);
  return made;
};
const button = (text, does, attributes = {}) => make('button', {type: 'button', onclick: does, ...attributes}, text);
