// Saves the settings as a file that the browser makes.
(text) => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = "regstudio_settings.json";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
