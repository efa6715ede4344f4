/** Takes one image with the camera; undefined if the person changed their mind. */
export async function takePicture(dialog: HTMLDialogElement): Promise<Blob | undefined> {
  const video = dialog.querySelector("video")!;
  const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
  video.srcObject = stream;
  dialog.returnValue = "";
  dialog.showModal();
  dialog.querySelector<HTMLElement>("#shoot")!.onclick = () => dialog.close("shoot");
  dialog.querySelector<HTMLElement>("#cancel")!.onclick = () => dialog.close();
  await new Promise((closed) => dialog.addEventListener("close", closed, { once: true }));
  try {
    if (dialog.returnValue !== "shoot" || !video.videoWidth) return undefined;
    const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
    canvas.getContext("2d")!.drawImage(video, 0, 0);
    return await canvas.convertToBlob({ type: "image/png" });
  } finally {
    stream.getTracks().forEach((track) => track.stop());
    video.srcObject = null;
  }
}
