import PhotosUI
import SwiftUI

struct ContentView: View {
    @State private var finder = Finder()
    @State private var item: PhotosPickerItem?
    @State private var text = "dog"
    @State private var showsCamera = false

    var body: some View {
        VStack(spacing: 12) {
            shown
            Text(finder.message).font(.footnote).foregroundStyle(.secondary)
            HStack {
                TextField("What to find", text: $text)
                    .textFieldStyle(.roundedBorder)
                    .textInputAutocapitalization(.never)
                    .onSubmit(find)
                Button("Find", action: find).buttonStyle(.borderedProminent)
            }
            .disabled(!finder.isReady || finder.photo == nil)
            HStack {
                PhotosPicker("Photos", selection: $item, matching: .images)
                Button("Camera") { showsCamera = true }
                    .disabled(!UIImagePickerController.isSourceTypeAvailable(.camera))
            }
            .disabled(!finder.isReady)
        }
        .padding()
        .task { await finder.open(bundleFolder) }
        .onChange(of: item) { Task { await showChosen() } }
        .sheet(isPresented: $showsCamera) {
            Camera { photo in Task { await show(photo) } }
        }
    }

    @ViewBuilder private var shown: some View {
        if let photo = finder.photo {
            Image(decorative: photo, scale: 1)
                .resizable()
                .overlay {
                    if let overlay = finder.overlay {
                        Image(decorative: overlay, scale: 1).resizable()
                    }
                }
                .aspectRatio(CGFloat(photo.width) / CGFloat(photo.height), contentMode: .fit)
                .frame(maxHeight: .infinity)
        } else {
            ContentUnavailableView("No photo", systemImage: "photo")
        }
    }

    private var bundleFolder: URL? {
        Bundle.module.url(forResource: "samclip-mobile", withExtension: nil)
    }

    private func find() {
        Task { await finder.find(text) }
    }

    private func showChosen() async {
        guard let data = try? await item?.loadTransferable(type: Data.self),
            let photo = UIImage(data: data)
        else { return }
        await show(photo)
    }

    private func show(_ photo: UIImage) async {
        if let upright = photo.upright(longest: 2048) { await finder.show(upright) }
    }
}

extension UIImage {
    /// The image as it is seen, whatever its orientation, no longer than some pixels.
    func upright(longest: CGFloat) -> CGImage? {
        let pixels = CGSize(width: size.width * scale, height: size.height * scale)
        let factor = min(1, longest / max(pixels.width, pixels.height))
        let target = CGSize(width: pixels.width * factor, height: pixels.height * factor)
        let format = UIGraphicsImageRendererFormat()
        format.scale = 1
        format.opaque = true
        let renderer = UIGraphicsImageRenderer(size: target, format: format)
        return renderer.image { _ in draw(in: CGRect(origin: .zero, size: target)) }.cgImage
    }
}
