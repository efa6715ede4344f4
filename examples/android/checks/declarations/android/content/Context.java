package android.content;

/** What this project calls of Android's class, written by hand: there is no android.jar here. */
public abstract class Context {
    public abstract android.content.res.AssetManager getAssets();
    public abstract java.io.File getNoBackupFilesDir();
}
