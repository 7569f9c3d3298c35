const dialog = document.querySelector("dialog");
for (const button of document.querySelectorAll(".enlarge")) {
  button.addEventListener("click", () => {
    const large = dialog.querySelector("img"), small = button.querySelector("img");
    large.src = small.src;
    large.alt = small.alt;
    dialog.showModal();
  });
}
dialog.querySelector("img").addEventListener("click", () => dialog.close());
