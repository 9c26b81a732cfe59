/** The page: its tabs, each a module of its own. */

import { listenForFiles } from "./files.js";
import { live } from "./live.js";
import { picture } from "./picture.js";
import { openTabs } from "./tabs.js";
import { video } from "./video.js";

const tabs = openTabs([picture, video, live]);
listenForFiles(tabs.take);
