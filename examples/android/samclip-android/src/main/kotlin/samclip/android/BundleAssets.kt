package samclip.android

import android.content.Context
import android.content.res.AssetManager
import java.io.File
import java.io.IOException
import samclip.BundleException

/**
 * The folder of a bundle that the app brings as assets/[name]: onnxruntime reads its weights from files, so that
 * it is copied to the app's own files once, and again when an update of the app brings another bundle.
 */
fun bundleFolder(context: Context, name: String): File {
    val folder = File(context.noBackupFilesDir, name)
    val manifest = try {
        context.assets.open("$name/manifest.json").use { it.readBytes() }
    } catch (error: IOException) {
        throw BundleException("the app brings no bundle as assets/$name: copy one there", error)
    }
    val copied = File(folder, "manifest.json")
    if (copied.exists() && copied.readBytes().contentEquals(manifest)) return folder
    val unfinished = File(context.noBackupFilesDir, "$name.unfinished")
    unfinished.deleteRecursively()
    copy(context.assets, name, unfinished)
    folder.deleteRecursively()
    if (!unfinished.renameTo(folder)) {
        throw BundleException("cannot move the copied bundle to $folder: free some memory of the device")
    }
    return folder
}

/** Copies a folder of assets; what has no entries is a file. */
private fun copy(assets: AssetManager, path: String, target: File) {
    val names = assets.list(path).orEmpty()
    if (names.isEmpty()) {
        assets.open(path).use { source -> target.outputStream().use { source.copyTo(it) } }
        return
    }
    target.mkdirs()
    names.forEach { copy(assets, "$path/$it", File(target, it)) }
}
